import csv
import hashlib
import json
import math
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from wanctl.data.buckets import TrainingBucket
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import ClipFile
from wanctl.exchange import shards
from wanctl.exchange.layouts import LAYOUTS
from wanctl.exchange.run import UnusableError, export
from wanctl.exchange.sample import ExportSample, ExportTarget
from wanctl.video.probe import scan


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_complete_deterministic_and_has_a_card(loaded, tmp_path, layout):
    export(loaded(), tmp_path, tmp_path / "one", layout)
    export(loaded(), tmp_path, tmp_path / "one", layout)
    first = hashes(tmp_path / "one")
    assert not any(".clips" in name or ".tmp" in name for name in first)
    card = json.loads((tmp_path / "one" / "datacard.json").read_text())
    assert card["exported"] == {"clips": 3, "seconds": 2.438, "without_caption": 0, "captions": 4}
    assert card["filters"][0] | {"config_hash": ""} == {
        "name": "duration", "version": 1, "config_hash": "", "models": {},
        "left": 3, "drops": 1, "alone": 1,
    }  # fmt: skip
    (tmp_path / "one").rename(tmp_path / "gone")
    export(loaded(), tmp_path, tmp_path / "one", layout)
    assert hashes(tmp_path / "one") == first


def test_files_are_cropped_at_the_training_rate_and_4n_plus_1_long(loaded, tmp_path):
    export(loaded(), tmp_path, tmp_path / "to")
    rows = table(tmp_path / "to" / "clips.csv")
    assert [(r["id"], r["caption"]) for r in rows] == [
        ("a", 'A cat, "Tom"'), ("b", "A dog."), ("c", "A video c."),
    ]  # fmt: skip
    info = scan(tmp_path / "to" / rows[1]["path"]).info
    assert (info.num_frames, info.fps, info.width, info.height) == (13, 16, 112, 80)


def test_index_files_hold_the_paths_and_captions_that_trainers_read(loaded, tmp_path):
    to = tmp_path / "to"
    export(loaded(), tmp_path, to, "diffsynth")
    rows = json.loads((to / "metadata.json").read_text(encoding="utf-8"))
    assert [(to / row["video"]).is_file() for row in rows] == [True] * 3
    assert rows[0]["prompt"] == 'A cat, "Tom"'

    export(loaded(), tmp_path, to, "fastvideo")
    entry = json.loads((to / "videos2caption.json").read_text(encoding="utf-8"))[1]
    assert entry["path"] == "b.mp4"
    assert entry["cap"] == ["A dog."]
    assert (entry["fps"], entry["duration"]) == (16, 13 / 16)
    assert not (to / "metadata.json").exists(), "files of the previous layout are stale"


def test_the_finetrainers_index_has_the_column_that_videofolder_requires(loaded, tmp_path):
    export(loaded(), tmp_path, tmp_path / "to", "finetrainers")
    lines = records(tmp_path / "to" / "metadata.jsonl")
    assert lines[1] == {"file_name": "videos/b.mp4", "caption": "A dog."}
    (config,) = json.loads((tmp_path / "to" / "dataset_config.json").read_text())["datasets"]
    assert config["video_resolution_buckets"] == [[1, 64, 96], [13, 64, 96], [13, 96, 64]]
    assert config["reshape_mode"] == "resize_crop"
    # `datasets` takes a file whose name says so for a whole split, and so all others for none
    names = [path.stem for path in (tmp_path / "to").rglob("*")]
    assert not [name for name in names if re.search(r"(^|[^a-z])(train|test|dev|val|eval)", name)]


@pytest.fixture
def shapes(loaded, tmp_path):
    """A data set of a wide, a tall, a still, a long and a short clip, and its recipe."""
    recipe = loaded()
    dataset = DatasetDir.open(tmp_path / "set")
    base = dataset.read("clips").to_pylist()[0]
    kept, rows = [], []
    spans = {"wide": 25, "tall": 25, "still": 1, "long": 70, "short": 8}
    for number, (name, frames) in enumerate(spans.items()):
        crop = {"crop_x": 0, "crop_y": 0, "crop_w": 64, "crop_h": 96} if name == "tall" else {}
        span = {"start_pts": 0, "end_pts": frames * 512, "start_s": 0.0, "end_s": frames / 25}
        rows.append({**base, **span, "id": f"{number}-{name}", "num_frames": frames})
        kept.append({"id": f"{number}-{name}", "kept": True, "reasons": [], **crop})
    dataset.write_part("clips", "part-00000", rows)
    dataset.write_part("selections/default", "", kept)
    captions = [{"id": row["id"], "text": f"Clip {row['id']}."} for row in rows]
    dataset.write_part("captions/template@v1", "part-00000", captions)
    return recipe


def test_every_clip_is_in_one_dataset_of_musubi(shapes, tmp_path):
    to = tmp_path / "to"
    export(shapes, tmp_path, to, "musubi")
    config = tomllib.loads((to / "dataset.toml").read_text(encoding="utf-8"))
    found = {
        (*dataset["resolution"], *dataset["target_frames"]): [
            Path(row["video_path"]).stem for row in records(Path(dataset["video_jsonl_file"]))
        ]
        for dataset in config["datasets"]
    }
    assert found == {
        (96, 64, 1): ["2-still"], (96, 64, 13): ["0-wide", "3-long"], (64, 96, 13): ["1-tall"],
    }  # fmt: skip
    assert {d["frame_extraction"] for d in config["datasets"]} == {"head"}
    assert not any("video_directory" in dataset for dataset in config["datasets"])
    assert len({dataset["cache_directory"] for dataset in config["datasets"]}) == 3
    assert (to / "videos" / "0-wide.txt").read_text(encoding="utf-8") == "Clip 0-wide.\n"
    left_out = json.loads((to / "export.json").read_text())["left_out"]
    assert left_out == {"4-short": "5 frames, the shortest bucket needs 13"}


def test_every_bucket_of_diffusion_pipe_has_a_folder(shapes, tmp_path):
    to = tmp_path / "to"
    export(shapes, tmp_path, to, "diffusion-pipe")
    config = tomllib.loads((to / "dataset.toml").read_text(encoding="utf-8"))
    found = {
        tuple(map(tuple, directory["size_buckets"])): sorted(
            path.name for path in Path(directory["path"]).iterdir() if path.suffix == ".mp4"
        )
        for directory in config["directory"]
    }
    assert found == {
        ((96, 64, 1),): ["2-still.mp4"],
        ((96, 64, 13),): ["0-wide.mp4", "3-long.mp4"],
        ((64, 96, 13),): ["1-tall.mp4"],
    }
    assert not (to / "videos" / "0-wide.mp4").exists()


def test_several_captions_of_a_clip_are_in_the_folder_of_its_bucket(loaded, tmp_path):
    export(loaded(), tmp_path, tmp_path / "to", "diffusion-pipe")
    found = tmp_path / "to" / "videos" / "13x64x96" / "captions.json"
    several = json.loads(found.read_text(encoding="utf-8"))
    assert several == {
        "a.mp4": ['A cat, "Tom"', "猫"], "b.mp4": ["A dog."], "c.mp4": ["A video c."],
    }  # fmt: skip


def test_videos_of_finetrainers_are_as_long_as_their_bucket(shapes, tmp_path):
    export(shapes, tmp_path, tmp_path / "to", "finetrainers")
    lines = records(tmp_path / "to" / "metadata.jsonl")
    frames = {line["file_name"][9:-4]: scan(tmp_path / "to" / line["file_name"]).info.num_frames
              for line in lines}  # fmt: skip
    assert frames == {"wide": 13, "tall": 13, "still": 1, "long": 13}


def test_no_clip_that_fills_a_bucket_is_an_error_that_says_why(loaded, tmp_path):
    recipe = loaded("train_dit.buckets=[{frames: 81, height: 64, width: 96}]")
    why = "none of the 3 clips could be exported; the first, a: 13 frames, the shortest bucket "
    with pytest.raises(UnusableError, match=why):
        export(recipe, tmp_path, tmp_path / "to", "musubi")


@pytest.mark.parametrize("fps", [15.0, 16.0, 24000 / 1001, 25.0, 30.0])
def test_fastvideo_counts_the_frames_that_a_file_has(fps, tmp_path):
    target = ExportTarget(tmp_path / "a", fps, ())
    samples = [
        ExportSample(ClipFile(str(n), tmp_path / f"{n}.mp4", n, 64, 96, fps), (), {})
        for n in range(1, 500, 4)
    ]
    files = LAYOUTS["fastvideo"].index(samples, target)
    rows = json.loads(files["videos2caption.json"])
    assert [math.ceil(row["fps"] * row["duration"]) for row in rows] == [*range(1, 500, 4)]
    assert "merge.txt" in files
    comma = ExportTarget(tmp_path / "a, b", fps, ())
    assert "merge.txt" not in LAYOUTS["fastvideo"].index(samples, comma)


def test_finetrainers_stretches_where_its_crop_would_stop_it(tmp_path):
    target = ExportTarget(tmp_path, 16.0, [TrainingBucket(13, 480, 832, 1, 1.0, 0, 0)])
    for size, mode in (((1080, 1920), "resize_crop"), ((256, 330), "bicubic")):
        sample = ExportSample(ClipFile("a", tmp_path / "a.mp4", 13, *size, 16.0), (), {})
        files = LAYOUTS["finetrainers"].index([sample], target)
        (config,) = json.loads(files["dataset_config.json"])["datasets"]
        assert config["reshape_mode"] == mode


@pytest.mark.parametrize(
    ("layout", "pattern"), [("webdataset", "*.tar"), ("finetrainers", "*.mp4")]
)
def test_the_card_names_the_files_that_hugging_face_datasets_reads(
    loaded, tmp_path, layout, pattern
):
    export(loaded(), tmp_path, tmp_path / "to", layout)
    front = (tmp_path / "to" / "README.md").read_text(encoding="utf-8").split("---")[1]
    (config,) = yaml.safe_load(front)["configs"]
    assert config["data_files"][-1].endswith(pattern)


def test_the_webdataset_library_reads_the_shards(loaded, tmp_path, recwarn):
    webdataset = pytest.importorskip("webdataset")
    export(loaded("export.shard_mb=0.001"), tmp_path, tmp_path / "to", "webdataset")
    names = sorted(path.name for path in (tmp_path / "to").glob("*.tar"))
    assert names == [f"shard-{number:06d}.tar" for number in range(3)]
    urls = [f"file:{tmp_path / 'to' / name}" for name in names]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode())
    assert [sample["__key__"] for sample in samples] == ["a", "b", "c"]
    assert samples[0]["txt"] == 'A cat, "Tom"'
    facts = samples[0]["json"]
    assert (facts["num_frames"], facts["weight"], facts["labels"]) == (
        13,
        0.5,
        {"motion": "medium"},
    )
    assert [each["text"] for each in facts["captions"]] == ['A cat, "Tom"', "猫"]
    (tmp_path / "a.mp4").write_bytes(samples[0]["mp4"])
    assert scan(tmp_path / "a.mp4").info.num_frames == 13


def test_complete_shards_are_kept_after_a_kill(loaded, tmp_path, monkeypatch):
    to = tmp_path / "to"
    recipe = loaded("export.shard_mb=0.001")
    export(recipe, tmp_path, to, "webdataset")
    complete = hashes(to)
    packed = []
    pack = shards._pack

    def recording_pack(path, samples):
        packed.append(path.name)
        pack(path, samples)

    monkeypatch.setattr(shards, "_pack", recording_pack)
    export(recipe, tmp_path, to, "webdataset")
    assert packed == []
    (to / "shard-000002.tar").unlink()
    (to / "shard-000001.tar").write_bytes(b"torn")
    export(recipe, tmp_path, to, "webdataset")
    # the last complete one is written again: it may be the short end of a smaller selection
    assert packed == ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]
    assert hashes(to) == complete


def test_clips_that_a_later_selection_drops_are_deleted(loaded, tmp_path):
    to = tmp_path / "to"
    to.mkdir()
    (to / "videos").mkdir()
    (to / "videos" / "mine.mp4").write_bytes(b"not ours")
    export(loaded(), tmp_path, to, "musubi")
    dataset = DatasetDir.open(tmp_path / "set")
    dataset.write_part("selections/default", "", [{"id": "b", "kept": True, "reasons": []}])
    export(loaded(), tmp_path, to, "musubi")
    assert sorted(path.name for path in (to / "videos").iterdir()) == ["b.mp4", "b.txt", "mine.mp4"]


def test_a_clip_that_fails_is_recorded_as_left_out(loaded, tmp_path):
    recipe = loaded("export.shard_mb=0.001")
    dataset = DatasetDir.open(tmp_path / "set")
    rows = dataset.read("clips").to_pylist()
    rows[1]["source"] = "/nowhere.mp4"
    dataset.write_part("clips", "part-00000", rows)
    for layout in ("mp4", "webdataset"):
        export(recipe, tmp_path, tmp_path / layout, layout)
        record = json.loads((tmp_path / layout / "export.json").read_text())
        assert list(record["left_out"]) == ["b"]
        card = json.loads((tmp_path / layout / "datacard.json").read_text())
        assert card["exported"]["clips"] == 2
    before = hashes(tmp_path / "webdataset")
    export(recipe, tmp_path, tmp_path / "webdataset", "webdataset")
    assert hashes(tmp_path / "webdataset") == before


def test_an_empty_selection_is_an_error_and_writes_nothing(loaded, tmp_path):
    recipe = loaded()
    dataset = DatasetDir.open(tmp_path / "set")
    dataset.write_part("selections/default", "", [{"id": "a", "kept": False, "reasons": ["x: y"]}])
    with pytest.raises(UnusableError, match="selection 'default' keeps no clip"):
        export(recipe, tmp_path, tmp_path / "to")
    assert not (tmp_path / "to").exists()
