import pytest

from wanctl.data.captions import (
    REVIEW_TABLE,
    CaptionsError,
    read_captions,
    read_weighted_captions,
)
from wanctl.data.dataset import DatasetDir


@pytest.fixture
def dataset(tmp_path):
    """Two captioners of clip `a`, one of clip `b`, none of clip `c`."""
    made = DatasetDir.create_or_open(tmp_path / "dataset")
    rows = [("a", "a long text", "long"), ("a", "short", "short"), ("a", "brief", "short"),
            ("b", "another", "long"), ("b", " ", "short")]  # fmt: skip
    for table, several in {"vlm@1": rows, "sidecar@1": [("a", "by hand", None)]}.items():
        captions = [
            {"id": i, "text": t, "variant": v, "backend": table[:-2]} for i, t, v in several
        ]
        made.write_part(f"captions/{table}", "part-00000", captions)
    return made


def texts(captions):
    return {clip: {each.text: each.share for each in several} for clip, several in captions.items()}


def test_captions_share_the_weight_of_their_name(dataset):
    weights = {"sidecar": 1, "vlm/short": 2, "vlm": 1}
    found = read_weighted_captions(dataset, weights)
    assert texts(found) == {
        "a": {"by hand": 0.25, "short": 0.25, "brief": 0.25, "a long text": 0.25},
        "b": {"another": 1.0},
    }
    assert found["a"][0].text == "by hand"
    assert texts(read_weighted_captions(dataset, {"long": 3, "sidecar": 1}, ["a"])) == {
        "a": {"a long text": 0.75, "by hand": 0.25}
    }


def test_captions_that_no_name_fits_are_left_out(dataset):
    assert texts(read_weighted_captions(dataset, {"sidecar": 5})) == {"a": {"by hand": 1.0}}
    assert texts(read_weighted_captions(dataset, {"vlm/long": 1, "vlm": 0})) == {
        "a": {"a long text": 1.0},
        "b": {"another": 1.0},
    }
    with pytest.raises(
        CaptionsError, match="no captioner or variant named 'vml'; did you mean 'vlm'"
    ):
        read_weighted_captions(dataset, {"vml": 1})


def test_without_weights_the_first_captioner_counts(dataset):
    found = read_captions(dataset, ["sidecar", "vlm"])
    assert [each.text for each in found["a"]] == ["by hand"]
    assert [each.text for each in found["b"]] == ["another"]
    assert [c.variant for c in read_captions(dataset, ["vlm"])["a"]] == ["long", "short", "short"]


def decide(dataset, *rows):
    """Write what people decided: (clip, variant, text, backend of the caption) each."""
    table = [{"id": i, "variant": v, "text": t, "backend": b} for i, v, t, b in rows]
    dataset.write_part(REVIEW_TABLE, "part-00000", table)


def found_texts(dataset, backends):
    return {
        clip: [(each.text, each.backend) for each in several]
        for clip, several in read_captions(dataset, backends).items()
    }


def test_an_edited_caption_replaces_its_variant_and_the_others_stay(dataset):
    decide(dataset, ("a", "short", "edited", "vlm"))
    assert found_texts(dataset, ["vlm"])["a"] == [("edited", "review"), ("a long text", "vlm")]
    weighted = texts(read_weighted_captions(dataset, {"vlm/short": 1, "long": 1}))
    assert weighted["a"] == {"edited": 0.5, "a long text": 0.5}
    assert weighted["b"] == {"another": 1.0}
    assert texts(read_weighted_captions(dataset, {"review": 3, "vlm": 1}))["a"] == {
        "edited": 0.75, "a long text": 0.25,
    }  # fmt: skip


def test_a_rejected_caption_is_not_trained_on(dataset):
    decide(dataset, ("a", "short", "", "vlm"), ("b", "long", "", "vlm"))
    assert found_texts(dataset, ["vlm"]) == {"a": [("a long text", "vlm")]}
    assert texts(read_weighted_captions(dataset, {"vlm": 1})) == {"a": {"a long text": 1.0}}
    decide(dataset, ("a", "short", "", "vlm"), ("a", "long", "", "vlm"))
    # nothing is left of the first captioner: the next one counts
    assert found_texts(dataset, ["vlm", "sidecar"])["a"] == [("by hand", "sidecar")]


def test_an_accepted_caption_counts_for_the_captioner_that_was_flagged(dataset):
    """Clip `c` has a sentence of a rule, and a flagged caption of the model that was accepted."""
    rule = [{"id": "c", "text": "a 2 s video", "variant": "default", "backend": "template"}]
    dataset.write_part("captions/template@1", "part-00000", rule)
    decide(dataset, ("c", "long", "right after all", "vlm"))
    for order in (["vlm", "template"], ["vlm", "sidecar", "template"]):
        assert found_texts(dataset, order)["c"] == [("right after all", "review")]
    assert texts(read_weighted_captions(dataset, {"vlm": 1}))["c"] == {"right after all": 1.0}


def test_weights_may_name_the_review_before_the_first_one(dataset):
    assert texts(read_weighted_captions(dataset, {"review": 2, "sidecar": 1})) == {
        "a": {"by hand": 1.0}
    }
