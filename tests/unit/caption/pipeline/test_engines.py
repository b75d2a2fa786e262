import pickle
from functools import partial

from tests.unit.caption.pipeline.stub_world import (
    StubFrames,
    StubModel,
    make_dataset,
    recipe,
    rows,
    use,
)
from wanctl.caption import engines
from wanctl.caption.run import caption
from wanctl.distributed import ray_actors


def test_actors_make_the_same_tables_and_counts(tmp_path, monkeypatch, caplog):
    # Ray starts for a minute: its driver is replaced by one actor in this process
    caplog.set_level("INFO", "wanctl")
    for name in ("local", "ray"):
        (tmp_path / name).mkdir()
        make_dataset(tmp_path / name, 12, parts=3)
    model = StubModel()
    use(monkeypatch, model, frames=StubFrames)

    def run_parts(make_worker, parts, resources, listener):
        assert isinstance(make_worker, partial)
        worker = pickle.loads(pickle.dumps(make_worker))()
        assert resources.section == "caption"
        for part in parts:
            result = worker.work(*pickle.loads(pickle.dumps(part)))
            listener.done(part[0], pickle.loads(pickle.dumps(result)))

    monkeypatch.setattr(ray_actors, "run_parts", run_parts)
    caption(recipe(tmp_path / "local"), tmp_path / "local" / "out")
    caption(recipe(tmp_path / "ray", "caption.engine=ray"), tmp_path / "ray" / "out")
    for kind in ("structures", "captions"):
        assert rows(tmp_path / "ray", kind) == rows(tmp_path / "local", kind)
    assert caplog.text.count("captioned 12 clips: vlm 12, template 0") == 2
    assert caplog.text.count("vlm: 12 clips, 24 captions in") == 2
    assert engines.ENGINES.keys() == {"local", "ray"}
