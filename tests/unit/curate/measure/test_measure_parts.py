"""Light filters measure in the decoding worker, networks measure batches in the engine."""

import functools
import http.server
import importlib
import json
import os
import sys
import textwrap
import threading

import numpy as np
import pytest

from wanctl.curate.api import FilterUnavailableError
from wanctl.curate.context import Limits, Reporter
from wanctl.curate.engines.engine import CurationJob, run_local
from wanctl.curate.registry import NamedFilter, measured_units
from wanctl.curate.split.clip_rows import SplitRules
from wanctl.curate.split.shots import DETECTORS, DetectorSettings
from wanctl.curate.split.split_parts import Splitter
from wanctl.curate.timing import Timings
from wanctl.data.dataset import DatasetDir
from wanctl.distributed.ray_actors import RayResources
from wanctl.log import EventLog, progress_display
from wanctl.video.encode import write_video
from wanctl.video.footage import list_footage
from wanctl.video.probe import ScanBounds

PLUGIN = textwrap.dedent(
    '''
    """Filters of another package."""
    import ctypes, os, sys
    from wanctl.curate.api import Embedder, Filter, FilterUnavailableError, FrameSpec, Verdict

    class Light(Filter):
        """Runs in the decoding worker."""
        evidence = {"level": "float", "pid": "int", "torch": "bool"}
        def frames(self):
            return FrameSpec(count=3, long_side_px=32)
        def measure(self, clip, frames):
            return {"level": float(frames.frames.mean()), "pid": os.getpid(),
                    "torch": "torch" in sys.modules}

    class Rows(Filter):
        """Needs no frames."""
        evidence = {"seconds": "float"}
        def measure(self, clip, frames):
            assert frames is None
            return {"seconds": clip.duration_s}

    class Vandal(Filter):
        """Writes to frames that other filters share."""
        evidence = {"level": "float"}
        def frames(self):
            return FrameSpec(count=3, long_side_px=32)
        def measure(self, clip, frames):
            frames.frames[:] = 0
            return {"level": 0.0}

    class Crash(Filter):
        """Crashes the process."""
        evidence = {"level": "float"}
        def frames(self):
            return FrameSpec(count=3, long_side_px=32)
        def measure(self, clip, frames):
            if clip.start_s < 0.3:
                ctypes.string_at(0)
            return {"level": 1.0}

    class Wrong(Filter):
        """Other columns than declared on one clip, values that do not fit on another."""
        evidence = {"level": "float"}
        def measure(self, clip, frames):
            if clip.start_s < 0.3:
                return {"other": 1.0}
            return {"level": "high" if clip.start_s < 0.7 else 1.0}

    class Gone(Filter):
        """Fails only while measuring because it cannot run."""
        evidence = {"level": "float"}
        def measure(self, clip, frames):
            raise FilterUnavailableError("filter gone: no model")

    class Network(Filter):
        """Measures several clips per call, in the engine."""
        heavy = True
        evidence = {"together": "int", "pid": "int", "level": "float"}
        picky: bool = False
        def frames(self):
            return FrameSpec(count=2, long_side_px=32)
        def measure_many(self, clips, frames):
            if self.picky and any(clip.start_s < 0.3 for clip in clips):
                raise RuntimeError("this clip is not supported")
            return [{"together": len(clips), "pid": os.getpid(),
                     "level": float(batch.frames.mean())} for batch in frames]
        def measure(self, clip, frames):
            return self.measure_many([clip], [frames])[0]

    class Vectors(Embedder):
        name = "tiny"
        size: int = 4
        def frames(self):
            return FrameSpec(count=2, long_side_px=32)
        def measure(self, clip, frames):
            rows = frames.frames.reshape(len(frames.frames), -1)[:, : self.size].astype("f4") + 1
            rows /= (rows**2).sum(1, keepdims=True) ** 0.5
            return {"frames": len(rows), "vector": rows.reshape(-1)}

    class Near(Filter):
        def embedder(self):
            return Vectors()

    class Far(Filter):
        evidence = {"seconds": "float"}
        def embedder(self):
            return Vectors()
        def measure(self, clip, frames):
            return {"seconds": clip.duration_s}
    '''
)


RAY = RayResources("curate", address=None, cpus=2, gpus=0, actors=None, retries=3)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Two files of two seconds; each gives five clips of 0.4 s."""
    folder = tmp_path_factory.mktemp("footage")
    for number in range(2):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 255, (50, 4, 6, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
        write_video(folder / f"{number}.mp4", frames, 25)
    return folder


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A module that workers can import, because they get this process's search path."""
    (tmp_path / "other_filters.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("other_filters")
    yield module
    monkeypatch.delitem(sys.modules, "other_filters")


@pytest.fixture
def run(footage, tmp_path):
    """run(name=filter, ...) -> the data set, measured."""

    def measure(batch_clips=4, folder=footage, out="set", **filters):
        dataset = DatasetDir.create_or_open(tmp_path / out)
        parts = dataset.assign_sources(list_footage(folder).videos, 16)
        settings = DetectorSettings(0.4, 3.0, "cpu")
        split = SplitRules(0, 0.1, 0.4)
        rules = Splitter(DETECTORS["none"], settings, split, 30, ScanBounds())
        named = [NamedFilter(name, each) for name, each in filters.items()]
        limits = Limits(2, 20, 4 * 2**30, timeout_per_gb_s=1200, batch_clips=batch_clips)
        job = CurationJob(rules, tuple(measured_units(named)), limits, RAY)
        with progress_display() as bars:
            reporter = Reporter(Timings(dataset.path), EventLog(tmp_path / "log.jsonl"), bars)
            run_local(dataset, job, parts, reporter)
        return dataset

    return measure


def table(dataset, named, name):
    return dataset.read(NamedFilter(name, named).table).to_pylist()


def test_light_filters_run_in_workers_without_torch(run, plugin):
    light, rows = plugin.Light(), plugin.Rows()
    dataset = run(light=light, rows=rows)
    found = table(dataset, light, "light")
    assert len(found) == 10
    assert os.getpid() not in {row["pid"] for row in found}
    assert not any(row["torch"] for row in found)
    assert len({row["level"] for row in found}) == 10
    assert [row["seconds"] for row in table(dataset, rows, "rows")] == pytest.approx([0.4] * 10)


def test_networks_get_several_clips_per_call_in_the_order_of_the_part(run, plugin):
    network = plugin.Network()
    dataset = run(network=network)
    found = table(dataset, network, "network")
    assert [row["id"] for row in found] == dataset.clips(["id"])["id"].to_pylist()
    assert [row["together"] for row in found] == [4] * 8 + [2] * 2
    assert {row["pid"] for row in found} == {os.getpid()}


def test_a_clip_on_which_a_network_fails_fails_alone(run, plugin):
    network = plugin.Network(picky=True)
    dataset = run(network=network)
    found = table(dataset, network, "network")
    assert [row["together"] for row in found] == [1] * 3 + [1] * 1 + [1] * 2 + [2] * 2
    quarantined = dataset.read("quarantine").to_pylist()
    assert [(row["stage"], row["kind"]) for row in quarantined] == [("network", "error")] * 2
    assert quarantined[0]["error"] == "RuntimeError: this clip is not supported"


def test_frames_that_filters_share_are_read_only(run, plugin):
    vandal, light = plugin.Vandal(), plugin.Light()
    dataset = run(vandal=vandal, light=light)
    assert table(dataset, vandal, "vandal") == []
    assert all(row["level"] > 1 for row in table(dataset, light, "light"))
    errors = {row["error"] for row in dataset.read("quarantine").to_pylist()}
    assert errors == {"ValueError: assignment destination is read-only"}


def test_a_filter_that_crashes_the_worker_affects_no_other_filter(run, plugin):
    crash, light, network = plugin.Crash(), plugin.Light(), plugin.Network()
    dataset = run(light=light, crash=crash, network=network)
    assert len(table(dataset, light, "light")) == 10
    assert len(table(dataset, network, "network")) == 10
    assert len(table(dataset, crash, "crash")) == 8
    quarantined = dataset.read("quarantine").to_pylist()
    assert [(row["stage"], row["kind"]) for row in quarantined] == [("crash", "crash")] * 2


def test_rows_that_do_not_fit_their_columns_fail_one_by_one(run, plugin):
    wrong = plugin.Wrong()
    dataset = run(wrong=wrong)
    assert len(table(dataset, wrong, "wrong")) == 6
    first, second, *_ = (row["error"] for row in dataset.read("quarantine").to_pylist())
    assert "measure gave the columns ['id', 'other'], the filter declares ['id', 'level']" in first
    assert "high" in second


def test_a_model_that_is_found_missing_while_measuring_stops_the_run(run, plugin):
    with pytest.raises(FilterUnavailableError, match="filter gone: no model"):
        run(gone=plugin.Gone())


def test_an_embedder_that_filters_share_runs_once(run, plugin):
    near, far = plugin.Near(), plugin.Far()
    dataset = run(near=near, far=far)
    (name,) = dataset.tables("embeddings")
    assert name.startswith("embeddings/tiny@")
    assert [t.split("@")[0] for t in dataset.tables("evidence")] == ["evidence/far"]
    rows = dataset.read(name).to_pylist()
    assert len(rows) == 10
    assert all(row["frames"] == 2 and len(row["vector"]) == 8 for row in rows)
    assert np.linalg.norm(rows[0]["vector"][:4]) == pytest.approx(1, abs=1e-3)
    assert dataset.read(name).schema.field("vector").type.value_type == "halffloat"


@pytest.fixture
def url(footage):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(footage))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_footage_behind_a_url_gives_the_same_tables_but_for_its_name(run, plugin, url):
    network, rows = plugin.Network(), plugin.Rows()
    here = run(network=network, rows=rows)
    there = run(folder=url, out="far", network=network, rows=rows)
    assert {row["source"] for row in there.clips(["source"]).to_pylist()} == {
        f"{url}/0.mp4", f"{url}/1.mp4",
    }  # fmt: skip
    assert there.clips().drop(["source"]).equals(here.clips().drop(["source"]))
    for named in (NamedFilter("network", network), NamedFilter("rows", rows)):
        assert there.read(named.table).equals(here.read(named.table))


def test_units_of_work_are_in_the_log_and_the_timings(run, plugin, tmp_path):
    dataset = run(light=plugin.Light(), network=plugin.Network())
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    units = [event for event in events if event["event"] == "unit"]
    assert [unit["stage"] for unit in units] == ["split", "light", "network"]
    assert [unit["items"] for unit in units] == [10, 10, 10]
    assert all({"time", "part", "seconds", "failures"} <= unit.keys() for unit in units)
    stages = Timings(dataset.path).stages
    assert list(stages) == ["scan", "shots", "decode", "light", "network"]
    assert all(stage.items in (2, 10) for stage in stages.values())
    assert all(stage.video_s == pytest.approx(4) for stage in stages.values())
    assert stages["decode"].cpu_s > 0
