from wanctl.caption.prompt import sentence, with_hints


def test_a_sentence_without_measurements():
    assert sentence(5.2, 1280, 720, {}) == "A 5.2-second landscape video of 1280 by 720 pixels."
    assert "12-second portrait" in sentence(12.4, 720, 1280, {})
    assert "square" in sentence(1, 512, 512, {})


def test_a_sentence_says_what_was_measured():
    evidence = {
        "exposure": {"luma": [20.0, 30.0, 200.0]},
        "blur": {"width": [0.4, 0.5]},
        "ocr": {"texts": ["SALE", "SALE", "50 %", " "]},
    }
    assert sentence(4.0, 640, 360, evidence) == (
        "A 4.0-second landscape video of 640 by 360 pixels, dark and in sharp focus, "
        'with the text "SALE", "50 %".'
    )


def test_measurements_that_are_missing_or_empty_are_left_out():
    evidence = {"exposure": {"luma": []}, "blur": {}, "ocr": {"polygons": [[], []], "texts": None}}
    assert sentence(4.0, 640, 360, evidence) == sentence(4.0, 640, 360, {})


def test_regions_of_text_count_where_most_frames_have_them():
    box = [0.0, 0.0, 9.0, 0.0, 9.0, 9.0]
    most = {"ocr": {"polygons": [[box], [box], []], "texts": []}}
    assert sentence(4.0, 640, 360, most).endswith("pixels, with text in the picture.")


def test_models_get_the_measurements_as_hints():
    assert with_hints("Describe.", {}) == "Describe."
    hinted = with_hints("Describe.", {"exposure": {"luma": [250.0]}})
    assert hinted == "Describe.\nMeasured: bright."
    seen = with_hints("Describe.", {"ocr": {"texts": ["SALE"]}})
    assert seen.endswith('with the text "SALE". Quote the text exactly as it is written.')
