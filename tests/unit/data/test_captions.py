import pytest

from wanctl.data.captions import CaptionsError, read_captions, read_weighted_captions
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
