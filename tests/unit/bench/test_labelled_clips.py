"""A folder of clips with a table of labels, against the filters."""

import numpy as np
import pytest

from wanctl.bench.labelled.clips import evaluate, folds, labels, measures
from wanctl.bench.run import bench, rows
from wanctl.errors import UserError
from wanctl.recipe.load import load_recipe
from wanctl.video.encode import write_video
from wanctl.video.frames import Box

HEAD = "file,group,overlay_text,logo,border,motion_tier,exposure,quality_1_5,"
HEAD += "transitions_first_frame_of_new_shot"


def write_labels(folder, *lines, head=HEAD):
    folder.mkdir(exist_ok=True)
    for line in lines:
        (folder / line.partition(",")[0]).touch()
    (folder / "labels.csv").write_text("\n".join([head, *lines]), encoding="utf-8")


def test_labels_are_read_and_unknown_cells_are_none(tmp_path):
    write_labels(
        tmp_path,
        "a.mp4,film,heavy,tl,yes,medium,under,3,80 205-240",
        "b.mp4,,none,centre,no,,not labelled,,none",
    )
    first, second = labels.read(tmp_path)
    assert first == labels.ClipLabels(
        "a.mp4", "film", "heavy", True, True, None, "medium", None, "under", 3.0,
        ((80, 80), (205, 240)),
    )  # fmt: skip
    assert (second.group, second.logo, second.exposure, second.transitions) == (
        "b.mp4", False, None, (),
    )  # fmt: skip


def test_a_measured_border_and_other_words_are_read(tmp_path):
    head = "file,overlay_text,border_crop_xywh,motion"
    write_labels(
        tmp_path, 'a.mp4,small,"0,58,854,364",subject', "b.mp4,title card,,mixed", head=head
    )
    first, second = labels.read(tmp_path)
    assert (first.overlay_text, first.border, first.crop, first.motion) == (
        "light", True, Box(0, 58, 854, 364), "optimal",
    )  # fmt: skip
    assert (second.overlay_text, second.border, second.motion) == (None, False, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4,,much,,,,,,", r"labels.csv:2: overlay_text: got 'much'; allowed: none, light"),
        ("a.mp4,,,,,,,7,", r"labels.csv:2: quality_1_5: got '7'; allowed: 1 to 5"),
        ("a.mp4,,,,,,,,5 x", r"labels.csv:2: transitions\w+: got '5 x'"),
        ("a.mp4,,,,maybe,,,,", r"border: got 'maybe'; allowed: yes, no"),
    ],
)
def test_a_wrong_label_is_refused_with_its_place(tmp_path, line, message):
    write_labels(tmp_path, line)
    with pytest.raises(UserError, match=message):
        labels.read(tmp_path)


def test_a_table_without_videos_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected labels\.csv"):
        labels.read(tmp_path)
    (tmp_path / "labels.csv").write_text(f"{HEAD}\ngone.mp4,,,,,,,,\n")
    with pytest.raises(UserError, match="none of its videos"):
        labels.read(tmp_path)


def test_gaps_are_matched_to_transitions():
    missed, false = measures.match_gaps([(80, 80), (200, 230), (400, 400)], [(78, 82), (300, 304)])
    assert missed == [(200, 230), (400, 400)]
    assert false == [(300, 304)]
    assert measures.match_gaps([(200, 230)], [(198, 205), (225, 233)]) == ([], [])


def test_a_threshold_is_judged_on_files_it_was_not_set_on():
    own = {"a": True, "b": True, "c": False, "d": False}
    # the variant is better on all files but c, and is chosen wherever c is held out
    variant = {"a": True, "b": False, "c": True, "d": False}
    truth = {"a": True, "b": False, "c": False, "d": False}
    goodness = folds.goodness_of(truth)
    judged = folds.held_out([own, variant], {"a": 0, "b": 1, "c": 2, "d": 3}, goodness)
    assert judged == {"a": True, "b": True, "c": True, "d": False}


def test_files_of_one_group_share_a_fold():
    several = [labels.ClipLabels(f"{n}.mp4", f"film{n // 3}") for n in range(30)]
    chosen = folds.fold_of(several)
    assert all(len({chosen[f"{3 * n + i}.mp4"] for i in range(3)}) == 1 for n in range(10))
    assert set(chosen.values()) == set(range(5))


def test_filters_are_counted_against_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "FILTERS", {"border": {}, "exposure": {}})
    rng = np.random.default_rng(0)
    noise = rng.integers(40, 216, (24, 120, 160, 3)).astype(np.uint8)
    barred = noise.copy()
    barred[:, :20] = barred[:, -20:] = 0
    folder = tmp_path / "mine"
    lines = ("a.mp4,,,,yes,,fine,,none", "b.mp4,,,,yes,,fine,,none", "c.mp4,,,,no,,under,,12")
    write_labels(folder, *lines)
    for name, frames in (("a", barred), ("b", noise), ("c", noise // 12)):
        write_video(folder / f"{name}.mp4", frames, 24)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("curate: {split: {detector: adaptive}}")
    sets, loaded = [f"clips={folder}"], load_recipe(str(recipe))
    results = {r["family"]: r for r in bench([], tmp_path / "out", sets=sets, recipe=loaded)}
    border, exposure = results["mine: border"], results["mine: under-exposed"]
    assert border["counts"] == {"true": 1, "false": 0, "missed": 1, "of": 3}
    assert exposure["counts"] == {"true": 1, "false": 0, "missed": 0, "of": 3}
    assert results["mine: shots"]["counts"] == {"true": 0, "false": 0, "missed": 1, "of": 1}
    targets = {figure["what"]: figure["met"] for figure in border["figures"]}
    assert targets["precision"] is True
    assert targets["recall"] is False
    assert any("1 right, 0 wrong, 1 missed" in row for line in rows([border]) for row in line)
    page = (tmp_path / "out/clips-mine/disagreements.html").read_text()
    assert "missed</b> b.mp4" in page
    assert page.count("data:image/webp") == 2, "one strip each: b's border, c's cut"
