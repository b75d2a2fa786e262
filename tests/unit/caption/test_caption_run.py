import json
import logging
from pathlib import Path

import numpy as np
import pytest

from wanctl.caption import backends
from wanctl.caption.backends import Caption, CaptionError, build_captioner
from wanctl.caption.run import caption
from wanctl.data.dataset import DatasetDir
from wanctl.data.schemas import evidence_schema
from wanctl.errors import UserError
from wanctl.recipe.load import LoadedRecipe, load_recipe
from wanctl.video.encode import write_video
from wanctl.video.frames import FrameSpec
from wanctl.video.probe import scan


def clip(number: int, source: Path, **more) -> dict:
    row = {
        "id": f"{number:016x}", "source": str(source), "shot": number, "start_pts": 0,
        "end_pts": 10, "start_s": 0.0, "end_s": 2.0, "width": 64, "height": 48,
        "has_audio": False,
    }  # fmt: skip
    return row | more


@pytest.fixture
def made(tmp_path):
    """A data set of two sources with two shots each; the last shot is not kept."""
    dataset = DatasetDir.create_or_open(tmp_path / "out" / "dataset")
    for part, name in enumerate(("one", "two")):
        rows = [clip(2 * part + shot, tmp_path / f"{name}.mp4", shot=shot) for shot in range(2)]
        dataset.write_part("clips", f"part-{part:05d}", rows)
    kept = [{"id": f"{number:016x}", "kept": number != 3} for number in range(4)]
    dataset.write_part("selections/default", "", kept)
    return tmp_path


def recipe(folder: Path, *overrides: str) -> LoadedRecipe:
    path = folder / "r.yaml"
    path.write_text("seed: 0\n", encoding="utf-8")
    return load_recipe(str(path), overrides)


def captions(folder: Path) -> dict[str, list[tuple[str, str, str]]]:
    dataset = DatasetDir.open(folder / "out" / "dataset")
    return {
        table.removeprefix("captions/").partition("@")[0]: [
            (row["id"][-1], row["variant"], row["text"]) for row in dataset.read(table).to_pylist()
        ]
        for table in dataset.tables("captions")
    }


def test_sidecars_first_and_a_sentence_for_the_rest(made, caplog):
    (made / "one.txt").write_text("Two cats\n on a roof.\n", encoding="utf-8")
    with caplog.at_level(logging.INFO, "wanctl"):
        caption(recipe(made), made / "out")
    rows = captions(made)
    assert rows["sidecar"] == [
        ("0", "default", "Two cats on a roof."),
        ("1", "default", "Two cats on a roof."),
    ]
    assert [row[0] for row in rows["template"]] == ["2"], "clip 3 is not kept"
    assert "captioned 3 clips: sidecar 2, template 1" in caplog.text


def test_an_edited_sidecar_takes_effect_and_same_input_gives_same_bytes(made):
    (made / "one.txt").write_text("Old.", encoding="utf-8")
    caption(recipe(made), made / "out")
    files = sorted((made / "out/dataset/captions").rglob("*.parquet"))
    before = [file.read_bytes() for file in files]
    caption(recipe(made), made / "out")
    assert [file.read_bytes() for file in files] == before
    (made / "one.txt").unlink()
    (made / "two.txt").write_text("New.", encoding="utf-8")
    caption(recipe(made), made / "out")
    rows = captions(made)
    assert rows["sidecar"] == [("2", "default", "New.")]
    assert [row[0] for row in rows["template"]] == ["0", "1"]


def test_json_sidecars_hold_variants_and_single_shots(made):
    text = {"captions": {"long": "A long one.", "short": "Short."}, "shots": {"1": "The second."}}
    (made / "one.json").write_text(json.dumps(text), encoding="utf-8")
    caption(recipe(made, "caption.backends=[sidecar]"), made / "out")
    assert captions(made)["sidecar"] == [
        ("0", "long", "A long one."),
        ("0", "short", "Short."),
        ("1", "default", "The second."),
    ]


def test_clips_without_a_caption_are_reported(made, caplog):
    (made / "one.json").write_text("{broken", encoding="utf-8")
    (made / "two.txt").write_text(" ... ", encoding="utf-8")
    with pytest.raises(UserError, match="none of 3 clips got a caption from sidecar; add sidecar"):
        caption(recipe(made, "caption.backends=[sidecar]"), made / "out")
    assert "one.json: not used as a caption" in caplog.text
    assert "the caption from sidecar is empty" in caplog.text
    assert "3 clips have no caption and will not be trained on" in caplog.text


def test_the_sentence_uses_what_curation_measured(made):
    dataset = DatasetDir.open(made / "out" / "dataset", lock=True)
    schema = evidence_schema({"luma": "floats"})
    rows = [{"id": f"{0:016x}", "luma": [10.0, 12.0]}]
    dataset.write_part("evidence/exposure@0", "part-00000", rows, schema=schema)
    del dataset
    caption(recipe(made, "caption.backends=[template]"), made / "out")
    texts = {row[0]: row[2] for row in captions(made)["template"]}
    assert texts["0"].endswith("pixels, dark.")
    assert texts["1"].endswith("pixels.")


def test_the_sentence_states_the_size_after_the_crop(made):
    dataset = DatasetDir.open(made / "out" / "dataset", lock=True)
    crop = {"crop_x": 2, "crop_y": 4, "crop_w": 24, "crop_h": 40}
    kept = [{"id": f"{0:016x}", "kept": True, **crop}, {"id": f"{1:016x}", "kept": True}]
    dataset.write_part("selections/default", "", kept)
    del dataset
    caption(recipe(made, "caption.backends=[template]"), made / "out")
    assert [row[2] for row in captions(made)["template"]] == [
        "A 2.0-second portrait video of 24 by 40 pixels.",
        "A 2.0-second landscape video of 64 by 48 pixels.",
    ]


class Model:
    """A stub of a vision-language model."""

    key = "0"
    author = "model"
    evidence = ()

    def __init__(self, answers: dict[str, str], spec: FrameSpec | None = None) -> None:
        self.answers = answers
        self.spec = spec
        self.requested: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, options) -> "Model":
        return self

    def frames(self) -> FrameSpec | None:
        return self.spec

    def check(self) -> None:
        pass

    def caption(self, clips, frames) -> list[list[Caption]]:
        self.requested += [each.id[-1] for each in clips]
        self.shapes += [each.frames.shape for each in frames if each is not None]
        return [
            [Caption(self.answers[each.id[-1]])] if each.id[-1] in self.answers else []
            for each in clips
        ]


def test_a_model_captions_each_clip_once_and_refusals_go_to_the_next_backend(made, monkeypatch):
    model = Model({"0": "The video shows a dog.", "1": "I'm sorry, I cannot."})
    monkeypatch.setitem(backends.CAPTIONERS, "model", model)
    loaded = recipe(made, "caption.backends=[model, template]")
    caption(loaded, made / "out")
    assert model.requested == ["0", "1", "2"]
    assert captions(made)["model"] == [("0", "default", "A dog.")]
    assert [row[0] for row in captions(made)["template"]] == ["1", "2"]
    model.answers["1"] = "A cat."
    caption(loaded, made / "out")
    assert model.requested[3:] == ["1", "2"]
    assert [row[0] for row in captions(made)["model"]] == ["0", "1"]
    assert [row[0] for row in captions(made)["template"]] == ["2"]


def test_a_model_gets_the_frames_it_specifies(tmp_path, monkeypatch, caplog):
    video = tmp_path / "v.mp4"
    write_video(video, np.zeros((12, 48, 64, 3), np.uint8), 12)
    pts = scan(video).pts
    dataset = DatasetDir.create_or_open(tmp_path / "out" / "dataset")
    span = {"start_pts": int(pts[0]), "end_pts": int(pts[-1]) + 1}
    rows = [clip(0, video, **span), clip(1, tmp_path / "gone.mp4", **span)]
    dataset.write_part("clips", "part-00000", rows)
    del dataset
    model = Model({"0": "Black.", "1": "Never."}, FrameSpec(count=3, long_side_px=32))
    monkeypatch.setitem(backends.CAPTIONERS, "model", model)
    caption(recipe(tmp_path, "caption.backends=[model]"), tmp_path / "out")
    assert model.requested == ["0"]
    assert model.shapes == [(3, 24, 32, 3)]
    assert "gone.mp4" in caplog.text
    assert "1 clips have no caption" in caplog.text


def test_one_caption_on_many_sources_is_a_warning(made, monkeypatch, caplog):
    dataset = DatasetDir.open(made / "out" / "dataset", lock=True)
    dataset.write_part("clips", "part-00002", [clip(4, made / "three.mp4")])
    kept = [{"id": f"{number:016x}", "kept": True} for number in range(5)]
    dataset.write_part("selections/default", "", kept)
    del dataset
    stuck = Model(dict.fromkeys("01234", "A person."))
    monkeypatch.setitem(backends.CAPTIONERS, "stuck", stuck)
    caption(recipe(made, "caption.backends=[stuck]"), made / "out")
    assert "3 different sources share one caption: 'a person.'" in caplog.text


def test_mistakes_are_reported_before_any_work(made):
    with pytest.raises(CaptionError, match="did you mean 'sidecar'"):
        build_captioner("sidecars", backends.CaptionOptions())
    with pytest.raises(UserError, match=r"no selection named 'best'.*there are: default"):
        caption(recipe(made, "dataset.selection=best"), made / "out")
    with pytest.raises(UserError, match="no data set there"):
        caption(recipe(made), made / "nowhere")
    assert not (made / "nowhere").exists()


def test_text_that_ocr_read_is_quoted(made, monkeypatch, caplog):
    dataset = DatasetDir.open(made / "out" / "dataset", lock=True)
    schema = evidence_schema({"texts": "strings"})
    rows = [{"id": f"{number:016x}", "texts": ["SALE", "50 %"]} for number in range(2)]
    dataset.write_part("evidence/ocr@0", "part-00000", rows, schema=schema)
    del dataset

    class Reader(Model):
        evidence = ("ocr",)

    answers = {"0": "A shop.", "1": "A 'Sale' of 50%.", "2": "A dog."}
    for policy, first in (
        ("append", ['A shop. The text in the picture reads "SALE", "50 %".']),
        ("drop", []),
        ("ignore", ["A shop."]),
    ):
        name = f"reader-{policy}"
        monkeypatch.setitem(backends.CAPTIONERS, name, Reader(answers))
        overrides = (f"caption.backends=[{name}, template]", f"caption.quote_text={policy}")
        caption(recipe(made, *overrides), made / "out")
        texts = [row[2] for row in captions(made)[name]]
        assert texts == [*first, "A 'Sale' of 50%.", "A dog."]
    assert "1 captions did not quote the text in the picture; it was added" in caplog.text


def test_a_json_without_a_caption_does_not_hide_the_text_beside_it(made, caplog):
    for text in ('{"id": "x", "title": "clip"}', "null", '["A cat", "A dog"]', "5", "[]",
                 '{"caption": "", "status": "success"}', '{"captions": {}}', '{"shots": {}}',
                 '{"caption": null}', '{"caption": 7}', "{broken", '{"shots": {"9": "A dog"}}',
                 '"\\ud83d"', ""):  # fmt: skip
        (made / "one.json").write_text(text, encoding="utf-8")
        (made / "one.txt").write_text("Words.", encoding="utf-8")
        caption(recipe(made, "caption.backends=[sidecar]"), made / "out")
        assert captions(made)["sidecar"][0] == ("0", "default", "Words."), text
    (made / "one.txt").unlink()
    (made / "one.json").write_text('{"title": "clip"}', encoding="utf-8")
    (made / "two.txt").write_text("Words.", encoding="utf-8")
    caption(recipe(made, "caption.backends=[sidecar]"), made / "out")
    assert "2 clips have no caption" in caplog.text
    assert "one.json: holds no caption; need" in caplog.text


def test_sidecars_in_a_folder_follow_the_paths_of_the_sources(tmp_path, caplog):
    dataset = DatasetDir.create_or_open(tmp_path / "out" / "dataset")
    sources = [tmp_path / "f" / name for name in ("a/c.mp4", "b/c.mp4", "b/d.mp4")]
    rows = [clip(index, source, shot=0) for index, source in enumerate(sources)]
    dataset.write_part("clips", "part-00000", rows)
    del dataset
    texts = tmp_path / "texts"
    for name in ("a/c.txt", "b/c.txt", "d.txt", "stray.txt"):
        (texts / name).parent.mkdir(parents=True, exist_ok=True)
        (texts / name).write_text(f"Words of {name[:-4]}.", encoding="utf-8")
    loaded = recipe(tmp_path, f"caption.sidecar_dir={texts}", "caption.backends=[sidecar]")
    caption(loaded, tmp_path / "out")
    assert [row[2] for row in captions(tmp_path)["sidecar"]] == [
        "Words of a/c.", "Words of b/c.", "Words of d.",
    ]  # fmt: skip
    assert "1 caption files belong to no video of the data set" in caplog.text
    assert "stray.txt" in caplog.text
    (texts / "b" / "c.txt").rename(texts / "c.txt")
    with pytest.raises(UserError, match=r"c.txt fits .*/f/a/c.mp4, .*/f/b/c.mp4"):
        caption(loaded, tmp_path / "out")
    assert len(captions(tmp_path)["sidecar"]) == 3, "an error changes nothing"


def test_a_sidecar_in_another_encoding_is_named_once(made, caplog):
    (made / "one.txt").write_bytes("A man’s café".encode("cp1252"))
    (made / "two.txt").write_bytes("A cat.".encode("utf-16"))
    caption(recipe(made, "caption.backends=[sidecar]"), made / "out")
    assert captions(made)["sidecar"] == [("2", "default", "A cat.")]
    assert caplog.text.count("one.txt: not used as a caption: not UTF-8") == 1


def test_a_clip_takes_the_cue_that_overlaps_it_most(made, caplog):
    dataset = DatasetDir.open(made / "out" / "dataset", lock=True)
    spans = [(0.0, 2.0), (2.0, 4.0)]
    rows = [
        clip(number, made / "one.mp4", shot=0, start_s=start, end_s=end)
        for number, (start, end) in enumerate(spans)
    ]
    dataset.write_part("clips", "part-00000", rows)
    del dataset
    cues = [
        {"start_s": 0, "end_s": 1.5, "caption": "The first part."},
        {
            "start_s": 1.5,
            "end_s": 3.5,
            "captions": {"long": "The second part.", "short": "Second."},
        },
        {"start_s": 3.5, "end_s": 9, "caption": "Later."},
        {"start_s": 5, "end_s": 4, "caption": "Backwards."},
        {"start_s": "00:01", "end_s": 4, "caption": "No number."},
        {"start_s": 1, "end_s": 2, "text": "No caption."},
        "plain text",
    ]
    sidecar = {"cues": cues, "captions": {"default": "The whole file."}, "shots": {"0": "Shot."}}
    (made / "one.json").write_text(json.dumps(sidecar), encoding="utf-8")
    (made / "two.json").write_text('{"cues": "1.5 s"}', encoding="utf-8")
    (made / "two.txt").write_text("Of the whole file.", encoding="utf-8")
    caption(recipe(made, "caption.backends=[sidecar]"), made / "out")
    assert captions(made)["sidecar"] == [
        ("0", "default", "The first part."),
        ("1", "long", "The second part."),
        ("1", "short", "Second."),
        ("2", "default", "Of the whole file."),
    ]
    for problem in (
        "one.json: cue 4 is not used: it lasts from 5 to 4 s, need 0 <= start_s < end_s",
        "one.json: cue 5 is not used: start_s is '00:01', need a number of seconds",
        "one.json: cue 6 is not used: it holds no caption",
        'one.json: cue 7 is not used: need {"start_s": ',
        "two.json: `cues` needs a list",
    ):
        assert problem in caplog.text
    assert "1 timed captions are of no kept clip and not used, in" in caplog.text


def test_a_clip_that_no_cue_overlaps_takes_the_caption_of_its_file(made):
    sidecar = {
        "cues": [{"start_s": 8, "end_s": 9, "caption": "Late."}],
        "caption": "The whole file.",
    }
    (made / "one.json").write_text(json.dumps(sidecar), encoding="utf-8")
    caption(recipe(made, "caption.backends=[sidecar]"), made / "out")
    assert [row[2] for row in captions(made)["sidecar"]] == ["The whole file."] * 2
