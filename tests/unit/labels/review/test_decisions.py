"""What people decide: stored at once, never overwritten silently, used in training."""

import json
import shutil

import pytest
from review_client import running
from review_set import VARIANTS, clip_name, make_set

from wanctl.atomic import WriteError
from wanctl.caption.backends import CaptionError, build_captioner
from wanctl.caption.run import caption
from wanctl.data.captions import REVIEW_TABLE, read_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import record_tables
from wanctl.errors import UserError
from wanctl.recipe.load import load_recipe

A, B = clip_name(0), clip_name(4)
LONG, POEM = VARIANTS[:2]


def rows(dataset):
    found = dataset.read(REVIEW_TABLE).to_pylist()
    return {(row["id"], row["variant"]): (row["text"], row["backend"]) for row in found}


def journal(dataset):
    lines = (dataset.path / "review/journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def texts(dataset, clip):
    return {each.variant: each.text for each in read_captions(dataset, ["vlm", "template"])[clip]}


def test_decisions_are_on_the_disk_at_once_and_in_training(client, dataset):
    client.decide("edit", (A, LONG, None, "  by\n hand "))
    client.decide("reject", (A, POEM, None, ""))
    flagged = f"clip 2 as {POEM}"
    status, answer = client.decide("accept", (clip_name(2), POEM, None, flagged))
    assert status == 200
    assert answer["counts"] == {
        "reviewed": 3, "rejected": 1, "left": 17, "flagged": 1, "captions": 20, "clips": 5,
    }  # fmt: skip
    assert rows(dataset) == {
        (A, LONG): ("by hand", "vlm"), (A, POEM): ("", "vlm"),
        (clip_name(2), POEM): (flagged, "vlm"),
    }  # fmt: skip
    assert texts(dataset, A) == {LONG: "by hand", VARIANTS[2]: f"clip 0 as {VARIANTS[2]}"}
    assert texts(dataset, clip_name(2))[POEM] == flagged
    edit, reject, _ = journal(dataset)
    assert (edit["action"], edit["changes"][0]["before"]) == ("edit", None)
    assert reject["changes"][0]["after"] == {"text": "", "backend": "vlm"}
    assert edit["time"].endswith("+00:00")


def test_the_previous_text_is_in_the_journal_and_undo_brings_it_back(client, dataset):
    client.decide("edit", (A, LONG, None, "first"))
    client.decide("edit", (A, LONG, "first", "second"))
    assert journal(dataset)[-1]["changes"][0]["before"]["text"] == "first"
    assert client.decide("undo", (A, LONG, "second", "first"))[0] == 200
    assert rows(dataset)[A, LONG] == ("first", "vlm")
    assert client.decide("undo", (A, LONG, "first", None))[0] == 200
    assert rows(dataset) == {}
    assert [line["action"] for line in journal(dataset)] == ["edit", "edit", "undo", "undo"]


def test_the_second_of_two_browsers_does_not_overwrite_the_first(client, dataset):
    """Nothing of a request is stored where one of its changes is in conflict."""
    assert client.decide("edit", (A, LONG, None, "mine"))[0] == 200
    both = ((B, LONG, None, "theirs"), (A, LONG, None, "theirs"))
    status, answer = client.decide("edit", *both)
    assert status == 409
    assert "Another window has decided" in answer["error"]
    assert answer["current"] == [
        {"id": A, "variant": LONG, "decision": {"text": "mine", "backend": "vlm"}}
    ]
    assert rows(dataset) == {(A, LONG): ("mine", "vlm")}
    assert client.decide("edit", (A, LONG, "mine", "agreed"))[0] == 200


def test_the_next_session_goes_on_where_the_last_one_ended(dataset):
    with running(dataset) as client:
        client.decide("accept", (A, LONG, None, "x"), (B, LONG, None, "y"))
    with running(dataset) as client:
        assert client.get("/api/start")["counts"]["reviewed"] == 2
        assert client.get("/api/clips?state=left")["clips"][0]["reviewed"] == 1
        assert client.decide("edit", (A, LONG, "x", "z"))[0] == 200
    assert not list((dataset.path / "review/cache").glob("*.sqlite"))


def test_decisions_on_captions_that_are_gone_can_be_seen_and_undone(dataset):
    """The recipe no longer asks for one of the variants."""
    with running(dataset) as client:
        client.decide("edit", (A, LONG, None, "kept"))
    for part in dataset.parts("captions/vlm@1"):
        left = [r for r in dataset.read("captions/vlm@1", parts=[part]).to_pylist()
                if r["variant"] != LONG]  # fmt: skip
        dataset.write_part("captions/vlm@1", part, left)
    with running(dataset) as client:
        assert client.get("/api/start")["counts"]["reviewed"] == 0
        entry = client.get(f"/api/clip?id={A}")["captions"][0]
        assert (entry["variant"], entry["texts"]) == (LONG, [])
        assert entry["decision"] == {"text": "kept", "backend": "vlm"}
        assert client.decide("undo", (A, LONG, "kept", None))[0] == 200
    assert rows(dataset) == {}


def test_flags_of_older_settings_are_not_shown_where_newer_ones_passed(dataset):
    """Clip 2 was captioned again, and clip 5 was not."""
    passed = [{"id": clip_name(2), "variant": each, "text": "new"} for each in VARIANTS]
    dataset.write_part("captions/vlm@2", "part-00000", passed)
    record_tables(dataset, ["captions/vlm@2"])
    with running(dataset) as client:
        found = client.get("/api/clips?state=flagged")["clips"]
        assert [each["id"] for each in found] == [clip_name(5)]
        entries = client.get(f"/api/clip?id={clip_name(2)}")["captions"]
        assert [each["text"] for entry in entries for each in entry["texts"]][:3] == ["new"] * 3
        assert not any(entry["flags"] for entry in entries)


def test_a_flagged_structure_is_shown_and_is_no_caption(dataset):
    flag = {"id": A, "variant": "structure", "text": "{", "checks": ["json: cut off"]}
    dataset.write_part("caption_flags/vlm@1", "part-00000", [{**flag, "attempts": 3}])
    with running(dataset) as client:
        assert client.get(f"/api/clip?id={A}")["captions"][0]["variant"] == "structure"
        assert client.get("/api/clips?check=json")["clips"][0]["flagged"] == 0
        assert client.get("/api/clips?state=flagged&variant=structure")["total"] == 0
        assert client.decide("accept", (A, "structure", None, "{"))[0] == 400


def test_a_clip_without_any_caption_gets_one_from_a_person(dataset):
    clip = clip_name(2)
    flag = {"id": clip, "variant": "structure", "text": "{", "checks": ["json: cut off"]}
    for table in [*dataset.tables("captions"), *dataset.tables("caption_flags")]:
        for part in dataset.parts(table):
            dataset.write_part(table, part, [])
    dataset.write_part("caption_flags/vlm@1", "part-00000", [{**flag, "attempts": 3}])
    with running(dataset) as client:
        entries = client.get(f"/api/clip?id={clip}")["captions"]
        assert [each["variant"] for each in entries] == ["structure", "default"]
        assert [each["id"] for each in client.get("/api/clips?state=left")["clips"]] == [clip]
        assert client.decide("edit", (clip, "default", None, "A dog on a beach."))[0] == 200
        assert client.get("/api/start")["counts"]["left"] == 0
    assert rows(dataset)[clip, "default"] == ("A dog on a beach.", "vlm")


def test_a_kill_between_journal_and_table_loses_nothing(dataset, monkeypatch):
    with running(dataset) as client:
        client.decide("edit", (A, LONG, None, "first"))
        write = dataset.write_part
        monkeypatch.setattr(dataset, "write_part", lambda *args, **more: 1 / 0)
        assert client.decide("edit", (A, LONG, "first", "second"))[0] == 500
        monkeypatch.setattr(dataset, "write_part", write)
    path = dataset.path / "review/journal.jsonl"
    with path.open("ab") as file:
        file.write(b'{"time": "cut o')
    assert rows(dataset)[A, LONG] == ("first", "vlm")
    with running(dataset) as client:
        assert rows(dataset)[A, LONG] == ("second", "vlm")
        assert client.decide("edit", (A, LONG, "second", "third"))[0] == 200
    assert (
        json.loads(path.read_bytes().splitlines()[-1])["changes"][0]["before"]["text"] == "second"
    )


def test_a_disk_that_is_full_is_said_and_nothing_is_half_saved(client, dataset, monkeypatch):
    def full(*args, **more):
        raise WriteError("part: cannot write: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "write_part", full)
        status, answer = client.decide("edit", (A, LONG, None, "x"))
    assert (status, "the disk is full" in answer["error"]) == (500, True)
    assert client.get(f"/api/clip?id={A}")["captions"][0]["decision"] is None
    assert client.decide("edit", (A, LONG, None, "y"))[0] == 200
    assert rows(dataset)[A, LONG] == ("y", "vlm")


def test_captioning_again_leaves_the_review_as_it_is(tmp_path):
    dataset = make_set(tmp_path)
    with running(dataset) as client:
        client.decide("edit", (A, "default", None, "by hand"))
    before = rows(dataset)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"dataset: {{path: {dataset.path}}}\ncaption: {{backends: [template]}}\n")
    del dataset
    caption(load_recipe(str(recipe), ()), tmp_path)
    again = DatasetDir.open(tmp_path / "dataset")
    assert rows(again) == before
    assert [each.text for each in read_captions(again, ["template"])[A]] == ["by hand"]


def test_no_captioner_may_be_called_review(monkeypatch):
    class Point:
        name, value = "review", "plugin:Captioner"

    monkeypatch.setattr("wanctl.caption.backends.entry_points", lambda group: [Point])
    with pytest.raises(CaptionError, match="'review' is the name of what people decided"):
        build_captioner("review", None)


def test_a_second_review_of_one_data_set_is_refused(client, dataset):
    with pytest.raises(UserError, match="another `wanctl data review` is open"), running(dataset):
        pass


def test_a_data_set_without_captions(dataset):
    for kind in ("captions", "caption_flags"):
        shutil.rmtree(dataset.path / kind)
    why = "no captions to review; `wanctl caption` writes them"
    with pytest.raises(UserError, match=why), running(dataset):
        pass


def test_a_folder_that_cannot_be_written(dataset):
    (dataset.path / "review").write_text("in the way")
    with pytest.raises(WriteError, match="a part of the path is a file"), running(dataset):
        pass
