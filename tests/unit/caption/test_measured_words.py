import pytest

from wanctl.caption.camera import describe_camera
from wanctl.caption.hints import CAPTION_PROMPT, with_hints
from wanctl.caption.measured_words import sentence, text_in_crop
from wanctl.video.frames import Box


def test_a_sentence_without_measurements():
    assert sentence(5.2, 1280, 720, {}) == "A 5.2-second landscape video of 1280 by 720 pixels."
    assert "12-second portrait" in sentence(12.4, 720, 1280, {})
    assert "square" in sentence(1, 512, 512, {})


def test_a_sentence_contains_the_measurements():
    evidence = {
        "exposure": {"luma": [20.0, 30.0, 200.0]},
        "blur": {"width": [0.4, 0.5]},
        "ocr": {"texts": ["SALE", "SALE", "50 %", " "]},
    }
    assert sentence(4.0, 640, 360, evidence) == (
        "A 4.0-second landscape video of 640 by 360 pixels, dark and in sharp focus, "
        'with the text "SALE", "50 %".'
    )


def test_text_that_the_crop_cuts_off_is_not_stated():
    subtitle, sign = [10, 330, 90, 330, 90, 350, 10, 350], [20, 20, 60, 20, 60, 40, 20, 40]
    crop = Box(0, 0, 640, 320)
    evidence = {"ocr": {"polygons": [[subtitle], [subtitle]], "texts": ["Hello."]}}
    assert sentence(4.0, 640, 320, text_in_crop(evidence, crop)) == sentence(4.0, 640, 320, {})
    evidence = {"ocr": {"polygons": [[subtitle, sign], []], "texts": ["Hello.", "SALE"]}}
    found = text_in_crop(evidence, crop)
    assert found == {"ocr": {"polygons": [[sign], []], "texts": ["Hello.", "SALE"]}}
    assert text_in_crop({"blur": {}}, crop) == {"blur": {}}


def test_measurements_that_are_missing_or_empty_are_left_out():
    evidence = {"exposure": {"luma": []}, "blur": {}, "ocr": {"polygons": [[], []], "texts": None}}
    assert sentence(4.0, 640, 360, evidence) == sentence(4.0, 640, 360, {})


def test_regions_of_text_count_where_most_frames_have_them():
    box = [0.0, 0.0, 9.0, 0.0, 9.0, 9.0]
    most = {"ocr": {"polygons": [[box], [box], []], "texts": []}}
    assert sentence(4.0, 640, 360, most).endswith("pixels, with text in the picture.")


def test_models_get_the_measurements_as_hints():
    assert with_hints(CAPTION_PROMPT, 0.0, {}) == CAPTION_PROMPT
    hinted = with_hints("Describe.", 5.0, {"exposure": {"luma": [250.0]}})
    assert hinted.startswith("Describe.\n\nMeasured")
    assert hinted.endswith("- 5.0 seconds long\n- bright")
    assert with_hints("Describe.", 0.0, {"exposure": {"luma": [120.0]}}) == "Describe."
    seen = with_hints("Describe.", 0.0, {"ocr": {"texts": ['SALE "now"', "半价"]}})
    assert r'exactly as it is here: "SALE \"now\"", "半价"' in seen
    assert seen.endswith("found no other text in the picture; quote none.")
    assert with_hints("Describe.", 0.0, {"ocr": {"texts": []}}).endswith(
        "no text in the picture; quote none."
    )
    unread = {"texts": [], "polygons": [[[0.0, 0.0, 9.0, 0.0, 9.0, 9.0]]]}
    assert with_hints("Describe.", 0.0, {"ocr": unread}) == "Describe."


def _path(pan=0.0, tilt=0.0, zoom=0.0, wobble=0.0):
    """Evidence of the motion filter: six pairs at 24 fps, speeds per second."""
    signs = (1, -1, 1, -1, 1, -1)
    return {
        "gap_s": [1 / 24] * 6,
        "pan": [(pan + wobble * sign) / 24 for sign in signs],
        "tilt": [tilt / 24] * 6,
        "zoom": [zoom / 24] * 6,
        "trust": [1.0, 1.0, 1.0, 1.0, 1.0, 0.2],
    }


@pytest.mark.parametrize(
    ("path", "phrase"),
    [
        (_path(), "the camera stands still"),
        (_path(pan=0.1), "the camera pans left"),
        (_path(pan=-0.1, wobble=0.05), "the camera pans right"),
        (_path(tilt=0.1), "the camera tilts up"),
        (_path(tilt=-0.1, zoom=0.1), "the camera tilts down and zooms in"),
        (_path(zoom=-0.2), "the camera zooms out"),
        (_path(wobble=0.3), "the camera is hand-held"),
        ({"trust": [0.1]}, ""),
        ({}, ""),
    ],
)
def test_the_camera_path_is_described(path, phrase):
    assert describe_camera(path) == phrase


def test_motion_is_described_by_the_label_of_the_selection():
    motion = {**_path(pan=0.1), "label": "camera"}
    assert sentence(4.0, 640, 360, {"motion": motion}).endswith(
        "pixels, with nothing moving but the camera and the camera pans left."
    )
    assert sentence(4.0, 640, 360, {"motion": {"label": None}}) == sentence(4.0, 640, 360, {})
