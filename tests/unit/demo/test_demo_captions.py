"""The demo's captions: of its sidecar files, or of a model where the recipe names one."""

import pytest

from tests.unit.caption.pipeline.stub_world import StubFrames
from tests.unit.vlm.stub_server import StubServer
from wanctl.caption import job
from wanctl.caption.run import caption
from wanctl.data.captions import read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.demo.footage import CUES, captioned_prompts, demo_prompts
from wanctl.errors import UserError
from wanctl.recipe.load import load_recipe

STARTS = {"bigbuckbunny": 1.76, "carphone_pristine": 2.0, "bikes": 5.5}


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A clip of each of the demo's files at the moment that it samples, and frames made up."""
    monkeypatch.setattr(job, "DecodedFrames", StubFrames)
    made = DatasetDir.create_or_open(tmp_path / "dataset")
    rows = [
        {
            "id": f"{number:016x}", "source": f"/demo/{name}.mp4", "content_hash": name, "shot": 0,
            "start_pts": 0, "end_pts": 10, "start_s": start, "end_s": start + 1.7,
            "num_frames": 10, "width": 64, "height": 48, "has_audio": False,
        }
        for number, (name, start) in enumerate(STARTS.items())
    ]  # fmt: skip
    made.write_part("clips", "part-00000", rows)
    return made


def test_without_a_model_they_are_those_of_the_sidecar_files(dataset, tmp_path):
    caption(load_recipe("tiny"), tmp_path)
    captions = read_captions(dataset, ("vlm", "sidecar", "template"))
    assert all(each[0].backend == "sidecar" for each in captions.values())
    assert captioned_prompts(dataset) == demo_prompts()


def test_with_a_model_they_come_from_the_structured_pass(dataset, tmp_path):
    with StubServer() as server:
        named = f"caption.model={{backend: openai, model: stub, url: {server.url}}}"
        caption(load_recipe("tiny", [named]), tmp_path)
    structures = dataset.read(dataset.tables("structures")[0]).to_pylist()
    assert len(structures) == len(CUES)
    captions = read_captions(dataset, ("vlm", "sidecar", "template"))
    for several in captions.values():
        assert {each.backend for each in several} == {"vlm"}
        assert {"long-formal-en", "motion-zh"} <= {each.variant for each in several}
    prompts = captioned_prompts(dataset)
    assert prompts.keys() == demo_prompts().keys()
    assert not set(prompts.values()) & set(demo_prompts().values())


def test_a_moment_without_a_caption_is_named(dataset):
    with pytest.raises(UserError, match=r"demo: no caption of bigbuckbunny at 2\.6 s"):
        captioned_prompts(dataset)
