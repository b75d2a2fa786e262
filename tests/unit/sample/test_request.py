"""Requests: settings that decide an output, and the file names made from them."""

from dataclasses import replace

import pytest
import torch

from wanctl.errors import ProblemsError
from wanctl.model.variant_table import get_variant
from wanctl.recipe.load import load_recipe
from wanctl.sample.inputs import InputCache
from wanctl.sample.settings import build_request

LAYOUT = "[{boxes: {0: [0,0,0.5,0.5], 4: [0.5,0.5,1,1]}}]"
VACE = "model.variant=wan2.1-vace-1.3b"


def built(*overrides, variant=None):
    loaded = load_recipe("tiny", overrides)
    return build_request(
        loaded,
        "a fox, running",
        variant=variant or get_variant(loaded.recipe.model.variant),
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


def test_levels_replace_the_steps_and_count_in_the_name():
    request = built("sample.levels=[1, 0.9375, 0.625]", "sample.solver=lcm")
    assert (request.steps, request.levels) == (3, (1.0, 0.9375, 0.625))
    assert request.schedule.timesteps.tolist() == [1000, 937.5, 625]
    assert "levels" not in built().settings()
    other = replace(request, levels=(1.0, 0.9375, 0.5))
    assert other.file_name("w") != request.file_name("w")
    assert other.kind != request.kind


def test_levels_of_the_model_give_way_to_steps_and_shift_of_the_recipe():
    variant = get_variant("tiny")
    distilled = replace(variant, defaults=replace(variant.defaults, levels=(1.0, 0.5)))
    free = ("sample.steps=null", "sample.shift=null")
    assert built(*free, variant=distilled).levels == (1.0, 0.5)
    assert built(*free, variant=distilled).steps == 2
    assert built("sample.levels=[1, 0.9, 0.8]", variant=distilled).steps == 3
    for key in ("sample.steps=8", "sample.shift=3", "sample.levels=[]"):
        assert built(*free, key, variant=distilled).levels == ()
    assert built(*free, "sample.steps=8", variant=distilled).steps == 8


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sample.levels=[1000, 750]"], "sample.levels: .*write 937.5 as 0.9375"),
        (["sample.levels=[0.5, 1]"], "sample.levels: .*need falling levels"),
        (
            ["sample.solver=lcm", "sample.step_cache=0.1"],
            "sample.step_cache: got 0.1, and lcm draws noise at every step",
        ),
    ],
)
def test_what_cannot_be_sampled_is_refused_in_one_line(overrides, message):
    with pytest.raises(ProblemsError, match=message) as error:
        built(*overrides)
    assert "\n" not in str(error.value)
