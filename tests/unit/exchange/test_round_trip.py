"""What an export writes, `data check` reads back: every layout, whatever the captions hold."""

import pytest

from wanctl.data.buckets import TrainingBucket
from wanctl.data.captions import ClipCaption
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import ClipFile
from wanctl.data.sidecars.texts import clean
from wanctl.exchange import shards
from wanctl.exchange.layouts import LAYOUTS
from wanctl.exchange.readers import read_layout
from wanctl.exchange.run import export
from wanctl.exchange.sample import ExportSample, ExportTarget

CAPTIONS = {
    "long": "A cat. " * 15_000,
    "longer-than-csv": "x" * 300_000,
    "newlines": "A cat\nb.mp4,a dog\r\non a\rroof",
    "quotes": 'A "cat", it\'s ""so"" called; "',
    "nul": "A\0cat\0",
    "emoji": "A 🐈\u200d⬛ 猫 e\u0301",
    "equals": "=1+1",
    "comma": ",,;\t|,",
    "separators": "A cat.\u2028It\x85runs\u2029\x0con\x0b\x1c\x1d\x1e",
    "bom": "\ufeffA cat",
    "json": '{"caption": "A cat"}',
    "hash": "# no comment",
    "backslash": "a\\nb\\",
}


@pytest.fixture
def samples(tmp_path):
    """samples(layout, captions) -> samples whose files exist, and their target."""

    def make(layout, texts):
        folder = tmp_path / layout
        videos = folder / LAYOUTS[layout].videos
        videos.mkdir(parents=True)
        made = []
        for number, captions in enumerate(texts):
            path = videos / f"{number:016x}.mp4"
            path.write_bytes(b"video")
            file = ClipFile(path.stem, path, 17, 96, 128, 16.0)
            variants = [ClipCaption(clean(text), str(n), "sidecar")
                        for n, text in enumerate(captions) if clean(text)]  # fmt: skip
            made.append(ExportSample(file, variants, {"source": "a.mp4"}))
        return made, ExportTarget(folder, 16.0, [TrainingBucket(17, 96, 128, 1, 1.0, 0, 0)])

    return make


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_back(layout, samples):
    texts = [[text] for text in CAPTIONS.values()] + [["A cat", "A dog"], [], [" \n "]]
    made, target = samples(layout, texts)
    if LAYOUTS[layout].packed:
        shards._pack(target.folder / "shard-000000.tar", made)
    for name, text in LAYOUTS[layout].index(made, target).items():
        path = target.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    where = target.folder / "dataset.toml"
    read = read_layout(where if layout == "diffusion-pipe" else target.folder)
    assert not [clip.error for clip in read.clips if clip.error]
    found = {clip.path.stem if not clip.member else clip.member[:-4]: list(clip.captions)
             for clip in read.clips}  # fmt: skip
    several = layout in ("webdataset", "diffusion-pipe", "fastvideo")
    for sample in made:
        expected = [each.text for each in sample.captions]
        expected = expected if several else expected[:1]
        assert found[sample.file.id] == expected


def test_the_lines_of_an_index_are_lines_for_every_reader(samples):
    for layout in ("musubi", "finetrainers"):
        made, target = samples(layout, [[text] for text in CAPTIONS.values()])
        text = LAYOUTS[layout].index(made, target)["metadata.jsonl"]
        assert len(text.splitlines()) == len(CAPTIONS)


@pytest.mark.parametrize("layout", ["mp4", "webdataset", "musubi"])
def test_captions_of_a_data_set_come_back_from_its_export(loaded, tmp_path, layout):
    recipe = loaded("caption.backends=[odd]")
    dataset = DatasetDir.open(tmp_path / "set")
    texts = {"a": CAPTIONS["long"], "b": CAPTIONS["newlines"], "c": CAPTIONS["bom"]}
    rows = [{"id": clip, "text": text, "variant": "default"} for clip, text in texts.items()]
    rows += [{"id": "a", "text": " \n\ufeff ", "variant": "blank"}]
    dataset.write_part("captions/odd@1", "part-00000", rows)
    export(recipe, tmp_path, tmp_path / "to", layout)
    found = {clip.name.rpartition("/")[2].removesuffix(".mp4"): list(clip.captions)
             for clip in read_layout(tmp_path / "to").clips}  # fmt: skip
    assert found == {clip: [clean(text)] for clip, text in texts.items()}
