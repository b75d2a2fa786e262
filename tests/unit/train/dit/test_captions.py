"""Which caption a training sample comes with: by weight, pattern, task, and with its scores."""

from collections import Counter

import pytest
import torch

from wanctl.data.captions import CaptionsError
from wanctl.data.dataset import DatasetDir
from wanctl.data.table_order import record_tables
from wanctl.train.accelerator import Processes
from wanctl.train.dit.captions import training_captions
from wanctl.train.dit.data import EncodedData
from wanctl.train.inputs.collect import ClipsError
from wanctl.train.inputs.encode import TextStore

VARIANTS = ("long-formal-en", "long-poetic-en", "short-formal-en", "long-formal-zh", "motion-en",
            "motion-zh")  # fmt: skip
CLIPS = ("0", "1", "2")
PROCESSES = Processes(torch.device("cpu"))


@pytest.fixture
def dataset(tmp_path):
    """Three clips: two with six captions of a model each, all with one of a person."""
    made = DatasetDir.create_or_open(tmp_path / "dataset")
    for backend, clips, variants in (
        ("vlm", CLIPS[:2], VARIANTS),
        ("sidecar", CLIPS, ("default",)),
    ):
        rows = [
            {"id": clip, "text": f"{clip} {variant}", "variant": variant, "backend": backend}
            for clip in clips
            for variant in variants
        ]
        made.write_part(f"captions/{backend}@1", "part-00000", rows)
    rows = []
    for number, clip in enumerate(CLIPS):
        scores = [{"filter": "aesthetic", "score": 5.618 - number}]
        scores += [{"filter": "motion", "score": 0.0314}] if number == 0 else []
        rows.append({"id": clip, "kept": True, "scores": scores})
    made.write_part("selections/default", "", rows)
    return made


def read(dataset, weights, task_weights=None, score_words=None):
    return training_captions(
        dataset, "default", backends=("vlm", "sidecar"), weights=weights,
        task_weights=task_weights or {}, score_words=score_words or {}, command_options="",
    )  # fmt: skip


def drawn(captions, clip, task="t2v", count=2000):
    """Text -> how often evenly spread points draw it: what many epochs come to."""
    encoded = EncodedData(
        lambda _: None, lambda _: None, captions.texts, captions.shares, captions.by_task
    )
    return Counter(encoded.caption(clip, (at + 0.5) / count, task) for at in range(count))


def test_without_weights_captions_of_the_motion_alone_are_not_drawn(dataset):
    texts = read(dataset, {}).texts
    assert set(texts["0"]) == {f"0 {variant}" for variant in VARIANTS[:4]}
    only = [{"id": "2", "text": "It turns.", "variant": "motion-en", "backend": "vlm"}]
    dataset.write_part("captions/vlm@1", "part-00001", only)
    assert read(dataset, {}).texts["2"] == ["It turns."]


def test_patterns_of_length_and_language_get_their_weight(dataset):
    captions = read(dataset, {"long-*-en": 4, "*-zh": 2, "vlm/short-*": 1, "sidecar": 1})
    counts = drawn(captions, "0")
    assert counts == {
        "0 long-formal-en": 500, "0 long-poetic-en": 500, "0 long-formal-zh": 250,
        "0 motion-zh": 250, "0 short-formal-en": 250, "0 default": 250,
    }  # fmt: skip
    assert drawn(captions, "2") == {"2 default": 2000}


def test_a_pattern_behind_one_that_fits_all_of_it_is_named(dataset, caplog):
    read(dataset, {"*-en": 1, "long-*-en": 9})
    assert "'long-*-en' counts for none" in caplog.text
    with pytest.raises(CaptionsError, match=r"no captioner or variant named '\*-fr'"):
        read(dataset, {"*-en": 1, "*-fr": 1})


def test_a_task_has_captions_of_its_own(dataset):
    captions = read(dataset, {"long-formal-en": 1, "sidecar": 0.5}, {"i2v": {"motion-*": 1}})
    assert drawn(captions, "1") == {"1 long-formal-en": 1333, "1 default": 667}
    assert drawn(captions, "1", "i2v") == {"1 motion-en": 1000, "1 motion-zh": 1000}
    assert drawn(captions, "2", "i2v") == {"2 default": 2000}  # has no caption of motion
    assert ("1", "1 motion-zh") in set(captions.pairs())


def test_scores_stand_at_the_end_of_captions(dataset):
    words = {"aesthetic": "aesthetic score", "motion": "motion score"}
    captions = read(dataset, {"sidecar": 1}, {"i2v": {"motion-en": 1}}, words)
    assert captions.texts["0"] == ["0 default aesthetic score: 5.6, motion score: 0.031."]
    assert captions.texts["2"] == ["2 default aesthetic score: 3.6."]
    assert captions.by_task["i2v"]["1"][0].text == "1 motion-en aesthetic score: 4.6."
    assert read(dataset, {}, None, words).texts["1"][0].endswith(" aesthetic score: 4.6.")
    with pytest.raises(ClipsError, match="no filter with a score named 'motoin'; did you mean"):
        read(dataset, {}, None, {"motoin": "motion"})


class CountingEncoder:
    key, text_len, dim = "counting-1", 4, 3

    def __init__(self):
        self.prompts = []

    def encode(self, prompts):
        self.prompts += prompts
        return torch.ones(len(prompts), 4, 3)


def test_new_captions_are_embedded_and_old_ones_are_not_embedded_again(dataset):
    first, second = CountingEncoder(), CountingEncoder()
    folder = dataset.path / "text"
    TextStore(folder, first).encode((t for _, t in read(dataset, {"vlm": 1}).pairs()), PROCESSES)
    rows = [{"id": "0", "text": "written anew", "variant": "default", "backend": "sidecar"}]
    dataset.write_part("captions/sidecar@2", "part-00000", rows)
    record_tables(dataset, ["captions/sidecar@2"])
    store = TextStore(folder, second)
    captions = read(dataset, {"vlm": 1, "sidecar": 1})
    store.encode((t for _, t in captions.pairs()), PROCESSES)
    assert sorted(second.prompts) == ["1 default", "2 default", "written anew"]
    assert store.get("written anew").shape == (4, 3)
