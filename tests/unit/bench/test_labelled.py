"""Small synthetic labelled sets in the layouts in which they are published."""

import json

import cv2
import numpy as np
import pytest

from wanctl.bench.cases import Decision
from wanctl.bench.drawing import text_lookalike
from wanctl.bench.labelled import camerabench, konvid, shot_boundaries
from wanctl.bench.run import bench
from wanctl.errors import UserError
from wanctl.video.encode import write_video


def scene(seed, frames):
    rng = np.random.default_rng(seed)
    still = np.kron(rng.integers(20, 235, (9, 16, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    return np.repeat(still[None], frames, axis=0)


@pytest.fixture
def bbc(tmp_path):
    folder = tmp_path / "BBC"
    (folder / "videos").mkdir(parents=True)
    (folder / "fixed").mkdir()
    write_video(folder / "videos/bbc_01.mp4", np.concatenate([scene(1, 30), scene(2, 40)]), 25)
    (folder / "fixed/01-scenes.txt").write_text("0\t29\n30\t69\n", encoding="utf-8")
    return folder


def test_bbc_is_read_and_evaluated(bbc, tmp_path):
    (result,) = bench([], tmp_path / "out", sets=[f"bbc={bbc}"])
    assert result["family"] == "bbc"
    assert result["counts"] == {"true": 1, "false": 0, "missed": 0, "of": 1}
    metrics = {figure["what"]: figure["value"] for figure in result["figures"]}
    assert metrics["F1, 0 frames off at most"] == 1
    assert json.loads((tmp_path / "out/bench.json").read_text())[0]["f1"] == 1


def test_annotations_of_both_sets(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "videos/2738.mp4").touch()
    (tmp_path / "videos/lost.mp4").touch()
    (tmp_path / "annotations/2738.txt").write_text("0 10\n11 20\n31 40\n", encoding="utf-8")
    ((video, truth),) = shot_boundaries.find(tmp_path)
    assert video.name == "2738.mp4"
    assert truth == [(10, 10), (21, 30)], "a hard cut, then a gradual transition"


@pytest.mark.parametrize("line", ["0", "a\tb", "-1\t5"])
def test_a_malformed_line_is_reported(tmp_path, line):
    path = tmp_path / "01-scenes.txt"
    path.write_text(f"0\t5\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"01-scenes.txt:2: .*FIRST and LAST"):
        shot_boundaries.read(path)


def test_konvid_in_all_its_spellings(tmp_path):
    videos = tmp_path / "KoNViD_1k_videos"
    videos.mkdir()
    for name in ("111.mp4", "222_original_centercrop_960x540_8s.mp4", "333.mp4"):
        (videos / name).touch()
    table = tmp_path / "KoNViD_1k_metadata" / "KoNViD_1k_attributes.csv"
    table.parent.mkdir()
    table.write_text("flickr_id,file_name,MOS\n111,x.mp4,3.5\n222,y.mp4,2\n999,z.mp4,1\n")
    long = "222_original_centercrop_960x540_8s"
    assert konvid.read(tmp_path) == {"111": 3.5, long: 2.0}
    table.rename(tmp_path / "KoNViD_1k_mos.csv")
    (tmp_path / "KoNViD_1k_mos.csv").write_text("flickr_id,mos\n333,4.25\n")
    assert konvid.read(tmp_path) == {"333": 4.25}


@pytest.mark.parametrize(
    ("text", "message"), [("a,b\n1,2\n", "columns are a, b"), ("flickr_id,mos\n7,1\n", "none of")]
)
def test_an_unrelated_table_is_refused(tmp_path, text, message):
    (tmp_path / "KoNViD_1k_mos.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        konvid.read(tmp_path)


def test_konvid_is_correlated_with_blur(tmp_path):
    videos = tmp_path / "set" / "KoNViD_1k_videos"
    videos.mkdir(parents=True)
    sharp = text_lookalike("windows", 270, 480)
    rows = ["flickr_id,mos"]
    for index, sigma in enumerate((0.5, 1.5, 3.0, 5.0)):
        still = cv2.GaussianBlur(sharp, (0, 0), sigma)
        write_video(videos / f"{index}.mp4", np.repeat(still[None], 6, axis=0), 12)
        rows.append(f"{index},{5 - sigma / 2}")
    (tmp_path / "set/KoNViD_1k_mos.csv").write_text("\n".join(rows))
    (result,) = bench([], tmp_path / "out", sets=[f"konvid={tmp_path / 'set'}"])
    metrics = {figure["what"]: figure["value"] for figure in result["figures"]}
    assert metrics["blur, SRCC"] == pytest.approx(-1)


def test_camerabench_is_read(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.1.mp4").touch()
    lines = [
        {"path": "videos/a.1.mp4", "labels": ["no-shaking", "no-motion"], "caption": "x"},
        {"path": "videos/gone.mp4", "labels": ["unsteady"]},
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert camerabench.read(tmp_path) == {"a.1": {"no-shaking", "no-motion"}}
    (tmp_path / "test.jsonl").write_text('{"video": 1}')
    with pytest.raises(UserError, match=r"test\.jsonl:1"):
        camerabench.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("bbc", "NAME=FOLDER"), ("bcc=.", "did you mean 'bbc'"), ("bbc=nowhere", "no folder")],
)
def test_a_malformed_or_unknown_set_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        bench([], tmp_path, sets=[text])


def test_decisions_on_a_video_count_hits_misses_and_false_alarms():
    decisions = shot_boundaries._decisions("v", [(10, 10), (20, 30)], [(11, 11), (50, 50)])
    assert [(p.truth, p.fired) for p in decisions] == [(True, True), (True, False), (False, True)]
    assert all(isinstance(p, Decision) for p in decisions)
