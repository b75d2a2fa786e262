import json

import pytest
from PIL import Image

from wanctl.caption.structured.schema import FIELDS, structure_schema
from wanctl.caption.structured.structure_prompt import structure_system
from wanctl.data.captions import REVIEW_TABLE
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.exchange.chat.run import caption_export
from wanctl.video.probe import scan

STRUCTURE = {
    name: [] if schema["type"] == "array" else schema.get("enum", ["a meadow"])[0]
    for name, schema in FIELDS.items()
}
TEXTS = {"long-formal-en": "A cat walks.", "short-formal-zh": "一只猫。"}


@pytest.fixture
def reviewed(loaded, tmp_path):
    """`a` with two accepted captions of a model, `b` with a corrected one, `c` with none."""
    recipe = loaded()
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    structures = [{"id": clip, "structure": json.dumps(STRUCTURE), "model": "m"} for clip in "ab"]
    dataset.write_part("structures/vlm@1", "part-00000", structures)
    rows = [
        {"id": clip, "text": text, "variant": variant, "backend": "vlm"}
        for clip in "ab"
        for variant, text in TEXTS.items()
    ]
    dataset.write_part("captions/vlm@1", "part-00000", rows)
    decide(dataset, [*rows[:2], {**rows[2], "text": "A dog walks."}])
    return recipe


def decide(dataset, rows):
    dataset.write_part(REVIEW_TABLE, "part-00000", rows)


def rows_of(folder, start=""):
    """The rows of both splits."""
    files = [folder / f"{start}{split}.jsonl" for split in ("train", "held_out")]
    return [
        json.loads(line)
        for path in files
        if path.exists()
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_reviewed_captions_become_conversations_with_the_prompts_of_the_captioner(
    reviewed, tmp_path
):
    to = tmp_path / "to"
    caption_export(reviewed, tmp_path, to, "review")
    shown = {row["videos"][0]: row["messages"] for row in rows_of(to)}
    assert sorted(shown) == ["clips/a.mp4", "clips/b.mp4"]
    system, question, answer = shown["clips/a.mp4"]
    assert system == {"role": "system", "content": structure_system(still=False)}
    assert question["content"].startswith("<video>Clip id: a\n")
    assert "3 frames of the clip, one every 0.33 seconds" in question["content"]
    assert json.loads(answer["content"]) == {"clip_id": "a", **STRUCTURE}
    assert list(json.loads(answer["content"])) == structure_schema("a", still=False)["required"]
    question, answer = shown["clips/b.mp4"]  # its structure led to a caption that was corrected
    assert question["content"].startswith("<video>Write a long formal caption in English.\n")
    assert answer == {"role": "assistant", "content": "A dog walks."}
    assert scan(to / "clips/a.mp4").info.num_frames == 16  # all of the second, not 4n+1
    texts = [row["messages"] for row in rows_of(to, "text_")]
    assert [json.loads(each[-1]["content"]) for each in texts] == [
        {"clip_id": "a", "long-formal-en": "A cat walks."},
        {"clip_id": "a", "short-formal-zh": "一只猫。"},
    ]


def test_the_index_names_the_files_and_a_split_is_held_out(reviewed, tmp_path):
    reviewed = reviewed_with(reviewed, holdout=0.5, holdout_by="clip")
    to = tmp_path / "to"
    caption_export(reviewed, tmp_path, to, "vlm")
    info = json.loads((to / "dataset_info.json").read_text())
    assert info["wanctl_train"]["file_name"] == "train.jsonl"
    assert info["wanctl_held_out"]["columns"]["videos"] == "videos"
    files = {each["file_name"] for each in info.values()}
    assert files == {path.name for path in to.glob("*.jsonl")}
    held = {
        row["videos"][0]
        for row in map(json.loads, (to / "held_out.jsonl").read_text().splitlines())
    }
    trained = {
        row["videos"][0] for row in map(json.loads, (to / "train.jsonl").read_text().splitlines())
    }
    assert held
    assert trained
    assert not held & trained
    decide(DatasetDir.open(tmp_path / "set"), [])
    caption_export(reviewed, tmp_path, to, "sidecar")  # other clips: nothing of before stays
    assert not list(to.glob("text_*.jsonl"))
    for row in rows_of(to):
        assert (to / row["videos"][0]).is_file()


def reviewed_with(loaded, **keys):
    from dataclasses import replace

    section = loaded.recipe.train_dit.model_copy(update=keys)
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"train_dit": section}))


def test_a_still_is_an_image_and_media_words_in_captions_are_left_out(loaded, tmp_path, caplog):
    recipe = loaded("caption.fps=1")  # one frame of a second
    dataset = DatasetDir.create_or_open(tmp_path / "set")
    rows = [
        {"id": "a", "text": "A <video> tag.", "variant": "other", "backend": "vlm"},
        {"id": "c", "text": "A cat.", "variant": "other", "backend": "vlm"},
    ]
    dataset.write_part("captions/vlm@1", "part-00000", rows)
    caption_export(recipe, tmp_path, tmp_path / "to", "vlm")
    assert "1 conversations hold <video>" in caplog.text
    (row,) = rows_of(tmp_path / "to")
    assert (row["images"], row["videos"]) == (["clips/c.png"], [])
    assert row["messages"][0]["content"].startswith("<image>")
    with Image.open(tmp_path / "to/clips/c.png") as image:
        assert image.size == (128, 96)


def test_what_people_rejected_and_its_neighbours_are_not_exported(reviewed, tmp_path):
    dataset = DatasetDir.open(tmp_path / "set")
    both = [
        {"id": clip, "text": "", "variant": "long-formal-en", "backend": "vlm"} for clip in "ab"
    ]
    decide(dataset, both)
    with pytest.raises(UserError, match="no caption of vlm is left for the kept clips"):
        caption_export(reviewed, tmp_path, tmp_path / "to", "vlm")
    decide(dataset, [])
    with pytest.raises(UserError, match=r"is reviewed; run `wanctl data review`, or"):
        caption_export(reviewed, tmp_path, tmp_path / "to", "review")
    with pytest.raises(UserError, match="--from: no captioner named 'vml'; did you mean 'vlm'"):
        caption_export(reviewed, tmp_path, tmp_path / "to", "vml")
