import json
import logging
from collections import Counter

import pytest

from tests.unit.caption.pipeline.stub_world import (
    StubFrames,
    StubModel,
    clip_id,
    make_dataset,
    recipe,
    rows,
    use,
)
from wanctl.caption.run import caption
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.vlm.chat import ChatAnswer, ChatError


def run(folder, *overrides, **more):
    caption(recipe(folder, *overrides), folder / "out", **more)


def test_every_clip_gets_a_structure_and_its_variants_once(tmp_path, monkeypatch, caplog):
    make_dataset(tmp_path, 40, parts=3)
    model = StubModel()
    use(monkeypatch, model)
    with caplog.at_level(logging.INFO, "wanctl"):
        run(tmp_path)
    structures = rows(tmp_path, "structures")
    assert sorted(row["id"] for row in structures) == [clip_id(n) for n in range(40)]
    assert json.loads(structures[0]["structure"])["camera_angle"] == "eye level"
    assert {row["model"] for row in structures} == {"stub"}
    found = Counter((row["id"], row["variant"]) for row in rows(tmp_path, "captions"))
    assert set(found.values()) == {1}
    assert {variant for _, variant in found} == {"short-formal-en", "short-formal-zh"}
    assert len(found) == 80
    assert set(model.requests.values()) == {1}
    assert model.closed
    assert "captioned 40 clips: vlm 40, template 0" in caplog.text
    assert "vlm: 40 clips, 80 captions in" in caplog.text
    assert "flags: none" in caplog.text
    assert "% busy (4 requests at a time)" in caplog.text
    assert not list(tmp_path.rglob("*.jsonl"))
    run(tmp_path)
    assert len(model.requests) == 120, "a second run asks nothing"


def test_more_variants_ask_only_for_those(tmp_path, monkeypatch):
    make_dataset(tmp_path, 5)
    model = StubModel()
    use(monkeypatch, model)
    run(tmp_path)
    before = {row["id"]: row for row in rows(tmp_path, "structures")}
    model.requests.clear()
    run(tmp_path, "caption.lengths=[medium, short]")
    assert set(model.requests) == {
        f"{clip_id(n)}/{lang}" for n in range(5) for lang in ("en", "zh")
    }
    assert len(rows(tmp_path, "captions")) == 20
    assert {row["id"]: row for row in rows(tmp_path, "structures")} == before


def test_longer_clips_are_asked_first_and_answers_come_before_new_clips(tmp_path, monkeypatch):
    make_dataset(tmp_path, 30)
    model = StubModel(parallel=1, delay_s=0.01)
    use(monkeypatch, model)
    run(tmp_path, "caption.languages=[en]")
    order = [each.partition("/")[0] for each in model.order if each.endswith("structure")]
    seconds = [int(each, 16) % 3 for each in order]
    assert seconds == sorted(seconds, reverse=True)
    place = {each: index for index, each in enumerate(model.order)}
    waits = sorted(place[f"{each}/en"] - place[f"{each}/structure"] for each in order)
    assert waits[len(waits) // 2] <= 3


def test_a_model_with_batches_gets_full_ones_of_one_kind(tmp_path, monkeypatch):
    make_dataset(tmp_path, 64)
    model = StubModel(parallel=1, batch=8, delay_s=0.03)
    use(monkeypatch, model)
    run(tmp_path)
    assert sum(model.calls) == 3 * 64
    assert sum(each == 8 for each in model.calls) >= 20
    start = 0
    for count in model.calls:
        kinds = {each.endswith("structure") for each in model.order[start : start + count]}
        assert len(kinds) == 1
        start += count


def test_a_text_model_writes_the_captions(tmp_path, monkeypatch):
    make_dataset(tmp_path, 6)
    vision, text = StubModel(), StubModel(name="writer")
    use(monkeypatch, vision, text)
    run(tmp_path, "caption.text_model={model: writer}")
    assert {each.rpartition("/")[2] for each in vision.requests} == {"structure"}
    assert {each.rpartition("/")[2] for each in text.requests} == {"en", "zh"}


def refuse(number):
    def fault(request):
        if request.id.startswith(clip_id(number)):
            return ChatAnswer(request.id, "I'm sorry, I cannot help with that.", "stop", 1, 1)
        return None

    return fault


def test_a_flagged_clip_is_asked_again_only_on_request(tmp_path, monkeypatch, caplog):
    make_dataset(tmp_path, 4)
    model = StubModel(fault=refuse(2))
    use(monkeypatch, model)
    run(tmp_path, "caption.retries=1")
    (flag,) = rows(tmp_path, "caption_flags")
    assert (flag["id"], flag["variant"], flag["attempts"]) == (clip_id(2), "structure", 2)
    assert "1 captions or structures failed their checks" in caplog.text
    captioned = {(row["id"], row["backend"]) for row in rows(tmp_path, "captions")}
    assert (clip_id(2), "template") in captioned, "it goes to the next captioner"
    before = sum(model.requests.values())
    run(tmp_path, "caption.retries=1")
    assert sum(model.requests.values()) == before
    model.fault = None
    with pytest.raises(UserError, match="--retry: no check or kind of failure named 'refusla'"):
        run(tmp_path, "caption.retries=1", retry=["refusla"])
    run(tmp_path, "caption.retries=1", retry=["flagged"])
    assert rows(tmp_path, "caption_flags") == []
    assert len(rows(tmp_path, "structures")) == 4
    assert {
        row["id"] for row in rows(tmp_path, "captions") if row["backend"] == "template"
    } == set()


def test_what_the_model_did_not_answer_is_asked_again_by_the_next_run(tmp_path, monkeypatch):
    make_dataset(tmp_path, 3)

    def fault(request):
        if request.id == f"{clip_id(1)}/zh":
            return ChatAnswer(request.id, "", "failed", error="timed out")
        return None

    model = StubModel(fault=fault)
    use(monkeypatch, model)
    run(tmp_path)
    (flag,) = rows(tmp_path, "caption_flags")
    assert flag["checks"] == ["failed: timed out"]
    model.fault = None
    model.requests.clear()
    run(tmp_path)
    assert set(model.requests) == {f"{clip_id(1)}/zh"}
    assert rows(tmp_path, "caption_flags") == []
    assert len(rows(tmp_path, "captions")) == 6


def test_clips_that_cannot_be_decoded_are_quarantined_with_a_warning(tmp_path, monkeypatch, caplog):
    make_dataset(tmp_path, 5)

    class Broken(StubFrames):
        broken = frozenset([clip_id(3)])

    model = StubModel()
    use(monkeypatch, model, frames=Broken)
    run(tmp_path)
    (row,) = rows_of_quarantine(tmp_path)
    assert (row["clip_id"], row["stage"], row["kind"]) == (clip_id(3), "caption", "error")
    assert f"({clip_id(3)}): no frame can be decoded" in caplog.text
    assert "1 clips cannot be decoded and are in the quarantine" in caplog.text
    use(monkeypatch, model)
    run(tmp_path)
    assert len(rows(tmp_path, "structures")) == 4
    run(tmp_path, retry=["error"])
    assert len(rows(tmp_path, "structures")) == 5
    assert rows_of_quarantine(tmp_path) == []


def rows_of_quarantine(folder):
    return DatasetDir.open(folder / "out" / "dataset").read("quarantine").to_pylist()


def test_an_error_of_the_model_keeps_what_was_answered(tmp_path, monkeypatch):
    make_dataset(tmp_path, 60)
    count = Counter()

    def fault(request):
        count["all"] += 1
        if count["all"] > 90:
            raise ChatError("http://127.0.0.1:1/v1: the server is gone")
        return

    model = StubModel(fault=fault)
    use(monkeypatch, model)
    with pytest.raises(ChatError, match="the server is gone"):
        run(tmp_path)
    done = {row["id"] for row in rows(tmp_path, "structures")}
    assert len(done) >= 15
    before = set(model.answered)
    model.fault = None
    run(tmp_path)
    assert all(model.requests[each] == 1 for each in before), "answers of open clips are kept"
    assert not list(tmp_path.rglob("*.jsonl"))
    assert len(rows(tmp_path, "captions")) == 120


def test_a_bug_in_a_backend_is_not_hidden(tmp_path, monkeypatch):
    make_dataset(tmp_path, 3)

    def fault(request):
        raise ZeroDivisionError

    use(monkeypatch, StubModel(fault=fault))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path)


def test_answers_with_a_strange_id_go_to_no_clip(tmp_path, monkeypatch):
    make_dataset(tmp_path, 3)

    def fault(request):
        if request.id.startswith(clip_id(1)):
            return ChatAnswer("somebody", "{}", "stop")
        return None

    use(monkeypatch, StubModel(fault=fault))
    run(tmp_path)
    (flag,) = rows(tmp_path, "caption_flags")
    assert flag["id"] == clip_id(1)
    assert flag["checks"][0].startswith("failed: the backend returned no answer with this id")


def test_shards_divide_the_parts(tmp_path, monkeypatch):
    make_dataset(tmp_path, 20, parts=4)
    model = StubModel()
    use(monkeypatch, model)
    run(tmp_path, shard="1/2")
    dataset = DatasetDir.open(tmp_path / "out" / "dataset")
    (table,) = dataset.tables("structures")
    assert dataset.parts(table) == ["part-00001", "part-00003"]
    run(tmp_path, shard="0/2")
    assert len(rows(tmp_path, "structures")) == 20
    assert set(model.requests.values()) == {1}


def test_captions_of_a_model_that_repeats_itself_are_set_aside(tmp_path, monkeypatch, caplog):
    make_dataset(tmp_path, 9, sources=3)
    text = "A grey heron waits beside a still pond while the evening light fades over the reeds."

    def fault(request):
        if request.id.endswith("/en"):
            answer = {"clip_id": request.id[:16], "short-formal-en": text}
            return ChatAnswer(request.id, json.dumps(answer), "stop", 1, 1)
        return None

    use(monkeypatch, StubModel())
    run(tmp_path, "caption.languages=[en]")
    assert rows(tmp_path, "caption_flags") == []
    (tmp_path / "stuck").mkdir()
    make_dataset(tmp_path / "stuck", 9, sources=3)
    use(monkeypatch, StubModel(fault=fault))
    run(tmp_path / "stuck", "caption.languages=[en]", "caption.retries=0")
    flags = rows(tmp_path / "stuck", "caption_flags")
    reason = "shared: 3 different sources have this caption; describe this clip alone"
    assert [each["checks"] for each in flags] == 9 * [[reason]]
    assert "9 captions are those of several sources, or nearly so, and are set aside" in caplog.text


def test_frames_wait_for_the_model_within_bounds(tmp_path, monkeypatch):
    make_dataset(tmp_path, 200)
    ahead = []

    class Counting(StubFrames):
        def read(self, tasks):
            for index, batch in super().read(tasks):
                ended = sum(each.endswith("/en") for each in model.answered)
                ahead.append(index - ended)
                yield index, batch

    model = StubModel(parallel=4, delay_s=0.01)
    use(monkeypatch, model, frames=Counting)
    run(tmp_path, "caption.languages=[en]")
    assert len(ahead) == 200
    assert max(ahead) <= 4 * 4 + 2


def test_a_clip_of_which_another_span_is_kept_is_captioned_again(tmp_path, monkeypatch, caplog):
    make_dataset(tmp_path, 3)
    dataset = DatasetDir.open(tmp_path / "out" / "dataset")
    whole = [{"id": clip_id(number), "kept": True} for number in range(3)]
    trimmed = [{**whole[0], "span_start_s": 1.0, "span_end_s": 2.0}, *whole[1:]]
    requested = []
    for verdicts in (whole, trimmed, trimmed, whole):
        dataset.write_part("selections/default", "", verdicts)
        model = StubModel()
        use(monkeypatch, model)
        with caplog.at_level(logging.INFO, "wanctl"):
            run(tmp_path, "caption.languages=[en]")
        requested.append({each.partition("/")[0] for each in model.requests})
        spans = {row["id"]: row["span"] for row in rows(tmp_path, "captions")}
        assert spans == {each["id"]: "5-10" if "span_end_s" in each else None for each in verdicts}
        assert len(rows(tmp_path, "structures")) == 3
    everything = {clip_id(number) for number in range(3)}
    assert requested == [everything, {clip_id(0)}, set(), {clip_id(0)}]
    assert "1 clips are captioned again, as another span of them is kept" in caplog.text
