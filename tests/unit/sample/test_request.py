"""Requests: settings that decide an output, and the file names made from them."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from wanctl.checkpoint.lora.apply import Lora
from wanctl.diffusion.phases import Phase
from wanctl.errors import ProblemsError, UserError
from wanctl.estimate.hardware import GPU_THROUGHPUT, Hardware
from wanctl.estimate.plan import make_plan
from wanctl.model.variant_table import get_variant
from wanctl.recipe.load import load_recipe
from wanctl.sample.inputs import InputCache
from wanctl.sample.request import workload_of
from wanctl.sample.settings import build_request
from wanctl.sample.sweep import check_phases

LAYOUT = "[{boxes: {0: [0,0,0.5,0.5], 4: [0.5,0.5,1,1]}}]"
H100 = Hardware("H100", GPU_THROUGHPUT["H100"], 1e12, 1e11, 1e12)
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


CURE = "sample.phases=[{steps: 2, lora_strengths: 0, guide_scale: 4}, {guide_scale: 1}]"


def test_phases_count_in_the_name_and_are_read_back_from_it():
    request = built(CURE, "sample.steps=8")
    assert request.phases == (Phase(2, None, 0.0, 4.0), Phase(None, None, 1.0, 1.0))
    assert json.loads(json.dumps(request.settings()))["phases"][0]["guide_scale"] == 4
    assert "phases" not in built().settings()
    other = replace(request, phases=(Phase(2, None, 0.5, 4.0), Phase(None, None, 1.0, 1.0)))
    assert other.kind != request.kind
    assert other.file_name("w") != request.file_name("w")


@pytest.mark.parametrize(
    ("overrides", "calls"),
    [
        ([CURE, "sample.steps=8"], 10),
        (["sample.levels=[1, 0.9, 0.5]", "sample.guide_scale=1"], 3),
        (["sample.levels=[1, 0.9, 0.5]", "sample.guide_scale=2"], 6),
        (["sample.levels=[1, 0.9, 0.5]", "sample.guide_scale=0"], 3),
        (["sample.steps=5", "sample.guide_until=0.5"], 7),
        (["sample.steps=5", "sample.guide_until=0"], 5),
    ],
)
def test_a_plan_counts_the_calls_of_the_transformer(overrides, calls):
    request = built(*overrides)
    assert workload_of(request, get_variant("tiny"), 1).forwards == pytest.approx(calls)
    assert request.guided == (calls > request.steps or request.guide_scale == 0)


def test_a_plan_counts_the_third_pass_and_the_tokens_of_references(tmp_path):
    Image.new("RGB", (48, 32)).save(tmp_path / "a.png")
    files = f"sample.references=[{tmp_path / 'a.png'}, {tmp_path / 'a.png'}]"
    keys = ("model.variant=phantom-1.3b", "sample.steps=4", "sample.guide_scale=null", files)
    request, phantom = built(*keys), get_variant("phantom-1.3b")
    load = workload_of(request, phantom, 1)
    assert (load.forwards, load.passes, load.more_frames) == (12, 3, 2)
    assert request.settings()["reference_guide_scale"] == 5
    alone = workload_of(replace(request, input_spec=built().input_spec), phantom, 1)
    assert load.tokens - alone.tokens == 2 * request.height * request.width // 256
    assert make_plan(load, H100).seconds > make_plan(alone, H100).seconds
    fewer = built(*keys, "sample.reference_guide_scale=1")
    assert workload_of(fewer, phantom, 1).forwards == 8
    assert fewer.kind != request.kind
    assert "reference_guide_scale" not in built().settings()


@pytest.mark.parametrize(
    ("loras", "strengths", "message"),
    [
        (("a", "b"), (1.0, 0.5), None),
        (("a", "b"), 0.5, None),
        ((), 1.0, None),
        (
            ("a", "b"),
            (1.0,),
            r"phases\.1\.lora_strengths: got 1 for the LoRAs a, b; give",
        ),
        ((), 0.5, r"phases\.1\.lora_strengths: there is no LoRA"),
        ((), (), r"phases\.1\.lora_strengths: there is no LoRA"),
    ],
)
def test_phases_need_a_strength_for_each_lora(loras, strengths, message):
    phases = (Phase(2, None, 1.0, 4.0), Phase(None, None, strengths, None))
    requests = [replace(built("sample.steps=8"), phases=phases)]
    weights = SimpleNamespace(loras=tuple(Lora(Path(name)) for name in loras))
    if message is None:
        check_phases(requests, weights)
        return
    with pytest.raises(UserError, match=message):
        check_phases(requests, weights)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [CURE, "sample.steps=2"],
            "sample.phases: have 2 \\+ the rest steps",
        ),
        (
            ["sample.phases=[{steps: 20, expert: high}]"],
            "sample.phases.0.expert: got 'high', and the model is one transformer",
        ),
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
