import logging

from tests.unit.caption.pipeline.stub_world import clip_id
from wanctl.caption.pipeline.shared_captions import set_shared_aside
from wanctl.data.dataset import DatasetDir

LONG = (
    "A man in a dark suit walks past a row of parked cars while a taxi drives by in the rain and "
    "two cyclists wait under a bridge beside a grey wall."
)
OWN = [
    "A grey rabbit climbs out of its burrow on a meadow, stands up and spreads its arms wide.",
    "A chef kneads dough on a wooden table in a bright kitchen with copper pots above the stove.",
    "Waves roll over black stones on a beach at dusk while gulls circle above a small lighthouse.",
    "Children throw paper planes from a balcony into a yard where an old man sweeps dry leaves.",
]


def make(folder, texts, sources):
    dataset = DatasetDir.create_or_open(folder / "dataset")
    clips = [
        {"id": clip_id(number), "source": source, "content_hash": str(number), "shot": number}
        for number, source in enumerate(sources)
    ]
    captions = [
        {"id": clip_id(number), "text": text, "variant": "long-formal-en", "backend": "vlm"}
        for number, text in enumerate(texts)
    ]
    for part in range(2):
        dataset.write_part("clips", f"part-{part:05d}", clips[part::2])
        dataset.write_part("captions/vlm@k", f"part-{part:05d}", captions[part::2])
    return dataset


def test_near_copies_of_several_sources_become_flags_and_nothing_is_lost(tmp_path, caplog):
    near = LONG.replace("grey", "red")
    texts = [LONG, OWN[0], near, OWN[1], LONG.upper(), OWN[2]]
    dataset = make(tmp_path, texts, [f"{n}.mp4" for n in range(6)])
    parts = {"part-00000", "part-00001"}
    with caplog.at_level(logging.WARNING, "wanctl"):
        assert set_shared_aside(dataset, "captions/vlm@k", parts) == 3
    assert "3 captions are those of several sources" in caplog.text
    kept = dataset.read("captions/vlm@k").to_pylist()
    flags = dataset.read("caption_flags/vlm@k").to_pylist()
    assert sorted(row["text"] for row in kept) == sorted(OWN[:3])
    assert sorted(row["text"] for row in flags) == sorted([LONG, near, LONG.upper()])
    assert all(row["checks"][0].startswith("shared: 3 different sources") for row in flags)
    assert set_shared_aside(dataset, "captions/vlm@k", parts) == 0


def test_clips_of_one_source_may_share_a_caption_and_so_may_short_ones(tmp_path):
    one = make(tmp_path / "one", [LONG] * 6, ["a.mp4", "b.mp4"] * 3)
    assert set_shared_aside(one, "captions/vlm@k", {"part-00000", "part-00001"}) == 0
    short = make(tmp_path / "short", ["A man talks."] * 6, [f"{n}.mp4" for n in range(6)])
    assert set_shared_aside(short, "captions/vlm@k", {"part-00000", "part-00001"}) == 0


def test_parts_of_other_shards_are_read_and_left_alone(tmp_path):
    dataset = make(tmp_path, [LONG] * 6, [f"{n}.mp4" for n in range(6)])
    assert set_shared_aside(dataset, "captions/vlm@k", {"part-00001"}) == 3
    assert len(dataset.read("captions/vlm@k", parts=["part-00000"])) == 3
    assert len(dataset.read("captions/vlm@k", parts=["part-00001"])) == 0
