import logging

import pytest

from wanctl.caption.pipeline.part_work import ModelCounts
from wanctl.caption.pipeline.summary import ModelTotals


@pytest.mark.parametrize(
    ("clips", "seconds", "busy_s", "is_advised"),
    [
        (3, 180.0, 20.0, False),  # too few clips to fill the model
        (500, 180.0, 20.0, True),
        (500, 180.0, 170.0, False),
        (500, 20.0, 2.0, False),  # over before the workers were warm
    ],
)
def test_advice_on_decoding_is_given_where_the_model_had_to_wait(
    caplog, clips, seconds, busy_s, is_advised
):
    totals = ModelTotals(
        ModelCounts(clips=clips, captions=clips, output_tokens=1800), seconds, seconds,
        {"m": 16}, {"m": busy_s},
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        totals.log("vlm")
    assert f"vlm: {clips} clips, {clips} captions" in caplog.text
    assert f"m was {busy_s / seconds:.0%} busy".replace("%", " %") in caplog.text
    assert ("raise curate.decode.workers" in caplog.text) == is_advised
