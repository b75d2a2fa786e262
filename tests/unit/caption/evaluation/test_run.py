import json
import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scripted import Guesses, Looks, Repeats, clip_frames

from wanctl.caption.evaluation import run as module
from wanctl.caption.evaluation.counterfactual.rates import ARMS, TESTS
from wanctl.caption.evaluation.results import columns_and_rows
from wanctl.caption.evaluation.run import CaptionEvalOptions, caption_eval
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.recipe.load import load_recipe
from wanctl.video.encode import write_video
from wanctl.video.probe import scan
from wanctl.vlm.chat import ChatError

FOOTAGE = 6


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    for number in range(FOOTAGE):
        write_video(folder / f"{number}.mp4", clip_frames(number).frames, 3.0, crf=4)
    return folder


@pytest.fixture
def out(tmp_path, footage):
    """A data set with one clip for each file, and structures of two captioners."""
    dataset = DatasetDir.create_or_open(tmp_path / "out" / "dataset")
    rows = []
    for number in range(FOOTAGE):
        source = footage / f"{number}.mp4"
        pts = scan(source).pts
        rows.append(
            {
                "id": f"{number:016x}", "source": str(source), "shot": 0, "start_s": 0.0,
                "end_s": 2.0, "start_pts": int(pts[0]), "end_pts": int(pts[-1]) + 1, "width": 128,
                "height": 96, "has_audio": False,
            }
        )  # fmt: skip
    dataset.write_part("clips", "part-00000", rows)
    return tmp_path / "out"


def recipe(folder: Path, *overrides: str):
    path = folder / "r.yaml"
    path.write_text("seed: 0\ncurate:\n  decode: {workers: 1}\n", encoding="utf-8")
    return load_recipe(str(path), overrides)


def write_structures(out: Path, name: str, structures: dict[str, dict]) -> None:
    rows = [
        {"id": clip, "structure": json.dumps(each), "model": f"model of {name}",
         "input_tokens": 1, "output_tokens": 1, "attempts": 1}
        for clip, each in structures.items()
    ]  # fmt: skip
    DatasetDir.open(out / "dataset").write_part(f"structures/{name}", "part-00000", rows)


def labelled(tmp_path: Path, rows: list[dict]) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def options(labels: Path | None, *captioners: str, counterfactual: bool = False):
    return CaptionEvalOptions(captioners, labels, counterfactual, 50)


def test_captioners_are_shown_beside_each_other(tmp_path, out):
    ids = [f"{number:016x}" for number in range(FOOTAGE)]
    write_structures(out, "vlm@good0000", {each: {"scene": "beach"} for each in ids})
    write_structures(out, "vlm@bad00000", {each: {"scene": "kitchen"} for each in ids[:3]})
    captions = [{"id": each, "text": "Waves roll onto the beach.", "variant": "x", "backend": "b"}
                for each in ids]  # fmt: skip
    DatasetDir.open(out / "dataset").write_part("captions/sidecar@v1", "part-00000", captions)
    labels = labelled(
        tmp_path, [{"clip": f"{number}.mp4", "scene": "sandy beach"} for number in range(3)]
        + [{"clip": ids[4], "scene": ["beach", "seaside"]}],
    )  # fmt: skip
    result = caption_eval([recipe(tmp_path)], out, options(labels))
    figures = {each["captioner"]: each for each in result["labels"]["captioners"]}
    assert figures["vlm@good0000"]["mean_f1"] == 1.0
    assert (figures["vlm@bad00000"]["mean_f1"], figures["vlm@bad00000"]["absent"]) == (0.0, 1)
    assert figures["sidecar@v1"]["dimensions"]["scene"]["right"] == 1
    columns, rows = columns_and_rows(result)
    assert set(columns[1:]) == {
        "model of vlm@good0000 (vlm@good0000)", "model of vlm@bad00000 (vlm@bad00000)",
        "sidecar@v1",
    }  # fmt: skip
    assert [row[0] for row in rows] == ["labelled clips", "F1 scene", "mean F1"]
    page = (out / "caption-eval" / "caption-eval.html").read_text(encoding="utf-8")
    assert "model of vlm@good0000" in page
    assert json.loads((out / "caption-eval" / "caption-eval.json").read_bytes()) == result


def test_a_model_is_asked_about_changed_footage_and_a_second_run_asks_nothing(
    tmp_path, out, monkeypatch
):
    models = {"looks": Looks(), "repeats": Repeats(), "guesses": Guesses()}
    for name, model in models.items():
        model.name = name
    monkeypatch.setattr(module, "build_chat_model", lambda each: models[each.model])
    recipes = [recipe(tmp_path, f"caption.model.model={name}") for name in models]
    result = caption_eval(recipes, out, options(None, counterfactual=True))
    tests = {each["model"]: each["tests"] for each in result["counterfactual"]}
    assert {name: tests["looks"][name]["rate"] for name in TESTS} == dict.fromkeys(TESTS, 1.0)
    assert {name: tests["repeats"][name]["rate"] for name in TESTS} == dict.fromkeys(TESTS, 0.0)
    assert len(models["looks"].requests) == FOOTAGE * len(ARMS)
    assert caption_eval(recipes, out, options(None, counterfactual=True)) == result
    assert len(models["looks"].requests) == FOOTAGE * len(ARMS)
    assert "mirrored: left and right swap" in (out / "caption-eval/caption-eval.html").read_text()


def test_a_model_that_describes_nothing_is_an_error_with_its_reason(tmp_path, out, monkeypatch):
    class Broken(Looks):
        def ask(self, requests):
            return [
                type(answer)(answer.id, "", "failed", error="503 from the server")
                for answer in super().ask(requests)
            ]

    monkeypatch.setattr(module, "build_chat_model", lambda each: Broken())
    loaded = recipe(tmp_path, "caption.model.model=x")
    with pytest.raises(UserError, match=r"describes none of 6 clips: failed: 503 from the server"):
        caption_eval([loaded], out, options(None, counterfactual=True))


def test_an_error_of_the_model_ends_the_run_and_answers_are_kept(tmp_path, out, monkeypatch):
    class Dies(Looks):
        def ask(self, requests):
            if len(self.requests) > 20:
                raise ChatError("http://x/v1: no server answers")
            return super().ask(requests)

    monkeypatch.setattr(module, "build_chat_model", lambda each: Dies())
    loaded = recipe(tmp_path, "caption.model.model=x")
    with pytest.raises(ChatError, match="no server answers"):
        caption_eval([loaded], out, options(None, counterfactual=True))
    (path,) = (out / "caption-eval").glob("answers-*.jsonl")
    kept = len(path.read_bytes().splitlines())
    assert 15 <= kept < FOOTAGE * len(ARMS)
    model = Looks()
    monkeypatch.setattr(module, "build_chat_model", lambda each: model)
    caption_eval([loaded], out, options(None, counterfactual=True))
    assert len(model.requests) == FOOTAGE * len(ARMS) - kept


@pytest.mark.parametrize(
    ("rows", "captioners", "message"),
    [
        ([{"clip": "9.mp4", "scene": "x"}], (), r"labels\.jsonl:1: no clip '9\.mp4' in "),
        ([{"clip": "1.mp4", "shot": 3, "scene": "x"}], (), r"no clip '1\.mp4', shot 3 in"),
        (
            [{"clip": "1.mp4", "scene": "x"}, {"clip": f"{1:016x}", "scene": "x"}], (),
            r"labels\.jsonl:1, .*labels\.jsonl:2: are labels of the same clip",
        ),
        ([{"clip": "1.mp4", "scene": "x"}], ("vlmm",), "no captioner named 'vlmm'.*vlm"),
        ([{"clip": "1.mp4", "scene": "x"}], ("vlm",), "structures/vlm@empty000: holds no row"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(tmp_path, out, rows, captioners, message):
    write_structures(out, "vlm@empty000", {})
    with pytest.raises(UserError, match=message):
        caption_eval([recipe(tmp_path)], out, options(labelled(tmp_path, rows), *captioners))


def test_nothing_to_measure_no_captions_and_no_model_are_errors(tmp_path, out, caplog):
    loaded = recipe(tmp_path)
    with pytest.raises(UserError, match="name --labels FILE, --counterfactual, or both"):
        caption_eval([loaded], out, options(None))
    with pytest.raises(UserError, match="CAPTIONER chooses tables for --labels"):
        caption_eval([loaded], out, options(None, "vlm", counterfactual=True))
    with pytest.raises(UserError, match=r"caption\.model\.model is null"):
        caption_eval([loaded], out, options(None, counterfactual=True))
    labels = labelled(tmp_path, [{"clip": "1.mp4", "scene": "x"}])
    with pytest.raises(UserError, match="no clip is captioned; run `wanctl caption` first"):
        caption_eval([loaded], out, options(labels))
    with caplog.at_level(logging.INFO, "wanctl"):
        write_structures(out, "vlm@some0000", {f"{0:016x}": {"scene": "x"}})
        caption_eval([loaded], out, options(labels))
    assert "vlm@some0000: 1 of 1 labelled clips are not captioned" in caplog.text
