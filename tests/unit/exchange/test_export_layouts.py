import csv
import hashlib
import json
import tomllib

import pytest

from wanctl.data.dataset import DatasetDir
from wanctl.exchange import shards
from wanctl.exchange.layouts import LAYOUTS
from wanctl.exchange.run import UnusableError, export
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
    rows = table(to / "metadata.csv")
    assert [(to / row["video"]).is_file() for row in rows] == [True] * 3
    assert rows[0]["prompt"] == 'A cat, "Tom"'

    export(loaded(), tmp_path, to, "musubi")
    config = tomllib.loads((to / "dataset.toml").read_text(encoding="utf-8"))
    assert [d["resolution"] for d in config["datasets"]] == [[64, 96], [96, 64]]
    assert config["datasets"][1]["target_frames"] == [1, 13]
    assert len({d["cache_directory"] for d in config["datasets"]}) == 2
    assert (to / "videos" / "a.txt").read_text(encoding="utf-8") == 'A cat, "Tom"\n'
    lines = records(to / "metadata.jsonl")
    assert lines[2] == {"video_path": str(to / "videos" / "c.mp4"), "caption": "A video c."}

    export(loaded(), tmp_path, to, "diffusion-pipe")
    config = tomllib.loads((to / "dataset.toml").read_text(encoding="utf-8"))
    assert config["size_buckets"] == [[96, 64, 1], [96, 64, 13], [64, 96, 13]]
    assert config["directory"][0]["path"] == str(to / "videos")
    several = json.loads((to / "videos" / "captions.json").read_text(encoding="utf-8"))
    assert several["a.mp4"] == ['A cat, "Tom"', "猫"]

    export(loaded(), tmp_path, to, "fastvideo")
    entry = json.loads((to / "videos2caption.json").read_text(encoding="utf-8"))[1]
    assert entry["path"] == "b.mp4"
    assert entry["cap"] == ["A dog."]
    assert (entry["fps"], entry["duration"]) == (16, 13 / 16)
    assert not (to / "dataset.toml").exists(), "files of the previous layout are stale"


def test_the_finetrainers_index_has_the_column_that_videofolder_requires(loaded, tmp_path):
    export(loaded(), tmp_path, tmp_path / "to", "finetrainers")
    lines = records(tmp_path / "to" / "metadata.jsonl")
    assert lines[1] == {"file_name": "videos/b.mp4", "caption": "A dog."}
    config = json.loads((tmp_path / "to" / "training.json").read_text())
    assert config["datasets"][0]["video_resolution_buckets"][0] == [1, 64, 96]


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
