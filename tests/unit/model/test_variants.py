"""VARIANTS: the published sizes, layouts and run defaults, and the tasks of each row."""

from dataclasses import fields, replace
from math import prod

import pytest
import torch

from tests.unit.model.dit.test_transformer import fingerprint
from wanctl.model.dit.networks import make_dit
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS, get_variant, task_problem
from wanctl.model.variants import LATER_SIZES
from wanctl.recipe.load import load_recipe, shipped_recipes
from wanctl.tasks.table import TASKS

PUBLISHED = [name for name, variant in VARIANTS.items() if variant.hub]

# parameters, fingerprint of the file (names and shapes), tensors
LAYOUTS = {
    "wan2.1-t2v-1.3b": (1_418_996_800, "9269f8db9040a9d860eaca435be61814", 825),
    "wan2.1-t2v-14b": (14_288_491_584, "aafcfd9672c3a2456dc46e1cb6e52c70", 1095),
    "wan2.1-i2v-14b-480p": (16_394_878_784, "6bfcfb3b342cb286ce886889d519a77e", 1303),
    "wan2.1-i2v-14b-720p": (16_394_878_784, "6bfcfb3b342cb286ce886889d519a77e", 1303),
    "wan2.1-flf2v-14b": (16_395_536_704, "3ef3b1f8e1dab83d5b71fd7b617f859f", 1304),
    "wan2.1-vace-1.3b": (2_153_972_032, "a61453409b67cd3246cf0c3bebad47ba", 1264),
    "wan2.1-vace-14b": (17_337_592_896, "7a513e1f257a861512b1afd387a8ecd9", 1331),
    "wan2.2-t2v-a14b": (14_288_491_584, "aafcfd9672c3a2456dc46e1cb6e52c70", 1095),
    "wan2.2-i2v-a14b": (14_288_901_184, "5b013604280dd715f8457c6ed6d6a626", 1095),
    "wan2.2-ti2v-5b": (4_999_787_712, "1f5ab7703c6fc803fdded85ff040c316", 825),
    # the file has 224 numbers more, of fixed filters
    "wan2.2-s2v-14b": (16_295_755_609, "966cffdcc52f9c46c391768b27637614", 1260),
    "wan2.2-animate-14b": (17_274_816_884, "31fa352acb8a1b1d33cd8764273d80a2", 1441),
}

# steps, shift, guide scale, frames, fps, height, width, boundary, start of the negative prompt
SHARED, I2V, FLF2V = "色调艳丽", "镜头晃动，色调艳丽", "镜头切换，镜头晃动，色调艳丽"
RUNS = {
    "wan2.1-t2v-1.3b": (50, 5, 5, 81, 16, 480, 832, None, SHARED),
    "wan2.1-t2v-14b": (50, 5, 5, 81, 16, 720, 1280, None, SHARED),
    "wan2.1-i2v-14b-480p": (40, 5, 5, 81, 16, 480, 832, None, I2V),
    "wan2.1-i2v-14b-720p": (40, 5, 5, 81, 16, 720, 1280, None, I2V),
    "wan2.1-flf2v-14b": (50, 16, 5, 81, 16, 720, 1280, None, FLF2V),
    "wan2.1-vace-1.3b": (50, 16, 5, 81, 16, 480, 832, None, SHARED),
    "wan2.1-vace-14b": (50, 16, 5, 81, 16, 720, 1280, None, SHARED),
    "wan2.2-t2v-a14b": (40, 12, (3, 4), 81, 16, 720, 1280, 0.875, SHARED),
    "wan2.2-i2v-a14b": (40, 5, (3.5, 3.5), 81, 16, 720, 1280, 0.9, SHARED),
    "wan2.2-ti2v-5b": (50, 5, 5, 121, 24, 704, 1280, None, SHARED),
    "wan2.2-animate-14b": (20, 5, 1, 77, 30, 720, 1280, None, SHARED),
    "wan2.2-s2v-14b": (40, 3, 4.5, 80, 16, 704, 1024, None, "画面模糊，最差质量"),
}


def test_every_published_row_is_held_to_its_facts():
    assert set(PUBLISHED) == set(LAYOUTS) == set(RUNS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_files(name):
    with torch.device("meta"):
        model = make_dit(VARIANTS[name].dit)
    count = sum(prod(parameter.shape) for parameter in model.parameters())
    assert (count, *fingerprint(model)) == LAYOUTS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_run_as_the_official_command_line_runs_it(name):
    run = VARIANTS[name].defaults
    *numbers, negative = RUNS[name]
    assert [
        run.steps, run.shift, run.guide_scale, run.frames, run.fps, run.height, run.width,
        run.boundary,
    ] == numbers  # fmt: skip
    assert run.negative_prompt.startswith(negative)
    assert run.negative_prompt.endswith("背景人很多，倒着走")
    assert run.solver == "unipc"


def test_the_shift_follows_the_size_where_it_differs():
    for name in PUBLISHED:
        run = VARIANTS[name].defaults
        small = 3.0 if "2.1-i2v" in name else run.shift
        assert run.shift_at(480 * 832) == run.shift_at(832 * 480) == small
        assert run.shift_at(720 * 1280) == run.shift


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_can_do_what_it_says(name):
    variant = VARIANTS[name]
    assert variant.tasks
    for task in variant.tasks:
        assert TASKS[task].refusal(variant.dit) is None, task
        assert task_problem(variant, task) is None


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_variant_and_is_refused_by_the_wrong_models(task):
    assert any(task in variant.tasks for variant in VARIANTS.values())
    others = [v for v in VARIANTS.values() if task not in v.tasks]
    assert any(TASKS[task].refusal(variant.dit) for variant in others)
    for variant in others:
        message = task_problem(variant, task) or ""
        assert message.startswith(f"{variant.name} cannot do {task}, it does ")
        assert "variants that can: " in message


def test_image_to_video_models_do_not_support_text_to_video():
    for name in PUBLISHED:
        if "t2v" in VARIANTS[name].tasks:
            continue
        assert TASKS["t2v"].refusal(VARIANTS[name].dit), name


@pytest.mark.parametrize("name", VARIANTS)
def test_the_transformer_follows_the_latent_channels_of_the_recipe(name):
    variant, own = get_variant(name, vae_width=32, latent_channels=4), VARIANTS[name]
    assert (variant.vae.dim, variant.vae.z_dim, len(variant.vae.latent_std)) == (32, 4, 4)
    assert variant.dit.out_channels == 4
    with torch.device("meta"):
        vae, wide = WanVAE(variant.vae), WanVAE(own.vae)
    assert vae.encoder.conv1.weight.shape[0] == 32
    ratio = wide.decoder.conv1.weight.shape[0] / own.vae.dim
    assert vae.decoder.conv1.weight.shape[0] / 32 == pytest.approx(ratio, rel=0.01)
    for task in variant.tasks:
        assert TASKS[task].refusal(variant.dit) is None, task
    assert get_variant(name) == own


def test_an_unknown_task_is_reported_with_the_nearest_name():
    assert "did you mean 'flf2v'" in (task_problem(None, "flf2vv") or "")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_a_recipe_that_says_so(name):
    assert name in shipped_recipes()
    assert load_recipe(name).recipe.model.variant == name


def test_sizes_that_came_later_are_named_where_they_are_set():
    """Checkpoints of training and names of samples hold a shape as text."""
    shape = VARIANTS["tiny"].dit
    assert repr(shape).endswith("vace_channels=96)")
    assert repr(replace(shape, camera_channels=24)).endswith(
        "vace_channels=96, camera_channels=24)"
    )
    assert set(shape.sizes) == {each.name for each in fields(shape)} - set(LATER_SIZES)
