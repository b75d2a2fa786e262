"""Requests: settings that decide an output, and the file names made from them."""

from dataclasses import replace

import pytest
import torch

from wanctl.model.variant_table import get_variant
from wanctl.recipe.load import load_recipe
from wanctl.sample.inputs import InputCache
from wanctl.sample.run import _build_request

LAYOUT = "[{boxes: {0: [0,0,0.5,0.5], 4: [0.5,0.5,1,1]}}]"
VACE = "model.variant=wan2.1-vace-1.3b"


def built(*overrides):
    loaded = load_recipe("tiny", overrides)
    return _build_request(
        loaded,
        "a fox, running",
        variant=get_variant(loaded.recipe.model.variant),
        dtype=torch.float32,
        cache=InputCache(60, 2**31),
        seed=5,
    )


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ((), "a-fox-running-s0-418003fd.mp4"),
        (
            ("sample.frames=1", "sample.seed=7", "model.quantize=int8"),
            "a-fox-running-s7-7c136fb2.png",
        ),
        (
            ("model.variant=wan2.2-t2v-a14b", "sample.guide_scale=[3,4]"),
            "a-fox-running-s0-c0489539.mp4",
        ),
        (
            (VACE, f"sample.vace.layout={LAYOUT}", "sample.vace.scale=0.7"),
            "a-fox-running-s0-3abbb69a.mp4",
        ),
    ],
)
def test_file_names_are_those_of_earlier_versions(overrides, name):
    assert built(*overrides).file_name("0123456789abcdef") == name


def test_the_kind_ignores_prompts_and_noise_alone():
    request = built()
    others = (
        replace(request, prompt="a bear"),
        replace(request, seed=9),
        replace(request, negative_prompt="dark"),
    )
    assert {other.kind for other in others} == {request.kind}
    assert replace(request, steps=request.steps + 1).kind != request.kind
    assert replace(request, prompt="a bear").key("w") != request.key("w")
