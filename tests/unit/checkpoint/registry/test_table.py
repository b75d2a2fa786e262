"""CHECKPOINTS: layouts on the meta device, noise levels as published, one meaning for each row."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import prod

import pytest
import torch

from wanctl.checkpoint.registry.structures import (
    CAMERA,
    CLIP,
    REFERENCE,
    Structure,
    fits,
    layout_md5,
    structure_of,
    structure_of_shape,
)
from wanctl.checkpoint.registry.table import GROUP, checkpoints, get_checkpoint
from wanctl.checkpoint.registry.types import FIXABLE, Checkpoint
from wanctl.errors import UserError
from wanctl.model.dit.networks import make_dit
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape
from wanctl.recipe.generation.sampling import SampleSection
from wanctl.tasks.table import TASKS

ROWS = checkpoints()
RUN = [name for name, row in ROWS.items() if row.defaults]
SMALL, LARGE = VARIANTS["wan2.1-t2v-1.3b"].dit, VARIANTS["wan2.1-t2v-14b"].dit


@cache
def shapes_of(dit: DiTShape) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in make_dit(dit).state_dict().items()}


def with_parts(structure: Structure, dit: DiTShape) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a transformer with the extra tensors of the Fun family."""
    width = dit.dim
    inputs = structure.copies * structure.latent_channels + structure.mask_channels
    image_dim = 1280 if CLIP in structure.parts else None
    shapes = dict(shapes_of(replace(dit, in_channels=inputs, image_dim=image_dim)))
    if REFERENCE in structure.parts:
        shapes |= {"ref_conv.weight": (width, 16, 2, 2), "ref_conv.bias": (width,)}
    if CAMERA in structure.parts:
        shapes |= {
            "control_adapter.conv.weight": (width, 1536, 2, 2),
            "control_adapter.conv.bias": (width,),
        }
        for layer in ("conv1", "conv2"):
            name = f"control_adapter.residual_blocks.0.{layer}"
            shapes |= {f"{name}.weight": (width, width, 3, 3), f"{name}.bias": (width,)}
    return shapes


def check_layout(row: Checkpoint, shapes) -> None:
    count = sum(prod(shape) for shape in shapes.values())
    known = row.layout
    assert layout_md5(shapes) == known.md5
    assert (len(shapes), count) == (known.tensors, known.parameters)
    assert known.stored_md5 in (None, layout_md5(shapes, known.prefix))
    assert row.structure
    assert fits(structure_of(shapes), row.structure)


@pytest.mark.parametrize(
    "name", [n for n, row in ROWS.items() if row.layout.parameters and row.variant]
)
def test_layouts_of_known_networks_hold(name):
    row = ROWS[name]
    check_layout(row, shapes_of(VARIANTS[row.variant].dit))


@pytest.mark.parametrize(
    "name", [n for n, row in ROWS.items() if row.layout.verified and "-fun-" in n]
)
def test_layouts_of_the_fun_family_hold(name):
    row = ROWS[name]
    check_layout(row, with_parts(row.structure, SMALL if "1.3b" in name else LARGE))


def test_the_side_file_of_speed_holds():
    sizes = {"0": (256, 1536), "2": (1536, 1536), "4": (1536, 6 * 1536)}
    shapes = {}
    for layer, (inputs, outputs) in sizes.items():
        shapes |= {f"linear.{layer}.weight": (outputs, inputs), f"linear.{layer}.bias": (outputs,)}
    assert layout_md5(shapes) == ROWS["speed-control-1.3b"].layout.md5


FOUR, EIGHT = (1000, 937.5, 833.3, 625), (1000, 972.2, 937.5, 892.9, 833.3, 750, 625, 416.7)
CAUSVID, RCM = (1000, 757, 522), (987.65, 933.78, 852.90, 608.98)
LEVELS = {
    "self-forcing-1.3b": (FOUR, "lcm"),
    "causal-forcing-1.3b": (FOUR, "lcm"),
    "longlive-1.3b": (FOUR, "lcm"),
    "causvid-1.3b": (CAUSVID, "lcm"),
    "causvid-14b": ((999, 934, 862, 756, 603, 410, 250, 140, 74), "lcm"),
    "lightx2v-t2v-14b": (FOUR, "euler"),
    "lightx2v-i2v-14b": (FOUR, "euler"),
    "wan2.2-distill-t2v-a14b": (FOUR, "euler"),
    "wan2.2-distill-i2v-a14b": (FOUR, "euler"),
    "lightx2v-lora-t2v-14b": (FOUR, "euler"),
    "lightx2v-lora-i2v-14b": (FOUR, "euler"),
    "lightx2v-lora-animate-14b": (FOUR, "euler"),
    "wan2.2-lightning-t2v-a14b": (FOUR, "euler"),
    "wan2.2-lightning-i2v-a14b": (FOUR, "euler"),
    "wan2.2-lightning-t2v-a14b-8-steps": (EIGHT, "euler"),
    "wan2.2-lightning-i2v-a14b-8-steps": (EIGHT, "euler"),
    "fastwan-t2v-1.3b": (CAUSVID, "lcm"),
    "fastwan-t2v-14b": (CAUSVID, "lcm"),
    "fastwan-ti2v-5b": (CAUSVID, "lcm"),
    "rcm-t2v-1.3b": (RCM, "lcm"),
    "rcm-t2v-14b": (RCM, "lcm"),
    "rcm-lora-a14b": (RCM, "lcm"),
    "turbowan-t2v-1.3b": (RCM, "lcm"),
    "turbowan-t2v-14b": (RCM, "lcm"),
    "turbowan-i2v-a14b": ((995.02, *RCM[1:]), "lcm"),
    "sfwan-t2v-a14b": ((1000, 850, 700, 550, 350, 275, 200, 125), "lcm"),
    "meanflow-t2v-14b": ((1000, 833.3), "euler"),
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in RUN if ROWS[n].defaults.levels])
def test_noise_levels_are_the_published_ones(name):
    timesteps, solver = LEVELS[name]
    defaults = ROWS[name].defaults
    assert [1000 * level for level in defaults.levels] == pytest.approx(timesteps, abs=0.06)
    assert (defaults.steps, defaults.solver, defaults.guide_scale) == (len(timesteps), solver, 1)


def test_every_published_list_of_levels_has_a_row():
    assert {name for name in RUN if ROWS[name].defaults.levels} == set(LEVELS)


@pytest.mark.parametrize("name", [n for n in LEVELS if ROWS[n].experts == 2])
def test_the_expert_for_high_noise_takes_the_first_steps(name):
    defaults = ROWS[name].defaults
    high = sum(level >= defaults.boundary for level in defaults.levels)
    # 8 steps of i2v (boundary 0.9): 1000, 972.2, 937.5
    expected = {"wan2.2-lightning-t2v-a14b-8-steps": 4, "wan2.2-lightning-i2v-a14b-8-steps": 3,
                "sfwan-t2v-a14b": 1, "turbowan-i2v-a14b": 2}  # fmt: skip
    assert high == expected.get(name, 2)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_complete(name):
    row = ROWS[name]
    assert row.variant is None or row.variant in VARIANTS
    assert set(row.tasks) <= set(TASKS)
    assert set(row.fixed) <= set(FIXABLE)
    assert set(FIXABLE) - {"levels"} <= set(SampleSection.model_fields)
    assert row.licence != "unknown"
    assert row.commercial or "NC" in row.licence
    if row.kind == "model":
        assert row.unsupported or (row.variant and row.defaults)
        assert row.structure
    if row.variant and row.structure and row.kind == "model" and not row.unsupported:
        own = structure_of_shape(VARIANTS[row.variant].dit)
        assert fits(own, row.structure)


def test_rows_of_one_structure_are_told_apart_by_marks():
    """Every row but the official ones has words of its own, unless its tensors are unique."""
    for row in ROWS.values():
        alike = [
            other for other in ROWS.values()
            if other is not row and other.kind == row.kind == "model"
            and other.structure == row.structure
        ]  # fmt: skip
        if any(other.official for other in alike) and not row.official:
            assert row.marks, row.name


def test_a_package_adds_rows(monkeypatch):
    mine = Checkpoint("mine", "Mine", "wan2.1-t2v-1.3b", marks=("mine",))

    class Point:
        name, value = "mine", "pack:ROWS"

        @staticmethod
        def load():
            return Point.rows

    monkeypatch.setattr(
        "wanctl.checkpoint.registry.table.entry_points",
        lambda group: [Point] if group == GROUP else [],
    )
    checkpoints.cache_clear()
    Point.rows = [mine]
    assert get_checkpoint("mine") is mine
    with pytest.raises(UserError, match="no checkpoint named 'krea-14b'; did you mean 'krea-"):
        get_checkpoint("krea-14b")
    checkpoints.cache_clear()
    Point.rows = {"mine": 3}
    with pytest.raises(UserError, match="entry point mine = pack:ROWS: holds str; need a Check"):
        checkpoints()
    checkpoints.cache_clear()


def both(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    """A weight and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def test_the_layout_of_face_and_pose_networks_holds():
    width = LARGE.dim
    shapes = dict(shapes_of(VARIANTS["wan2.1-i2v-14b-480p"].dit))
    shapes |= both("pose_patch_embedding", width, 16, 1, 2, 2)
    for number in range(8):
        block = f"face_adapter.fuser_blocks.{number}"
        shapes |= both(f"{block}.linear1_q", width, width)
        shapes |= both(f"{block}.linear1_kv", 2 * width, width)
        shapes |= both(f"{block}.linear2", width, width)
        shapes |= {f"{block}.{norm}.weight": (128,) for norm in ("q_norm", "k_norm")}
    shapes |= both("face_encoder.conv1_local.conv", 4096, 512, 3)
    shapes |= both("face_encoder.conv2.conv", 1024, 1024, 3)
    shapes |= both("face_encoder.conv3.conv", 1024, 1024, 3)
    shapes |= both("face_encoder.out_proj", width, 1024)
    shapes["face_encoder.padding_tokens"] = (1, 1, 1, width)
    net, path = "motion_encoder.enc.net_app.convs", (32, 64, 128, 256, 512, 512, 512, 512)
    shapes |= {f"{net}.0.0.weight": (32, 3, 1, 1), f"{net}.0.1.bias": (1, 32, 1, 1)}
    for number, (inner, outer) in enumerate(pairwise(path), 1):
        row = f"{net}.{number}"
        shapes |= {
            f"{row}.conv1.0.weight": (inner, inner, 3, 3), f"{row}.conv1.1.bias": (1, inner, 1, 1),
            f"{row}.conv2.0.kernel": (4, 4), f"{row}.conv2.1.weight": (outer, inner, 3, 3),
            f"{row}.conv2.2.bias": (1, outer, 1, 1), f"{row}.skip.0.kernel": (4, 4),
            f"{row}.skip.1.weight": (outer, inner, 1, 1),
        }  # fmt: skip
    shapes[f"{net}.8.weight"] = (512, 512, 4, 4)
    for number in range(5):
        shapes |= both(f"motion_encoder.enc.fc.{number}", 20 if number == 4 else 512, 512)
    shapes["motion_encoder.dec.direction.weight"] = (512, 20)
    row = ROWS["wan2.2-animate-14b"]
    assert (layout_md5(shapes), len(shapes)) == (row.layout.md5, row.layout.tensors)
    assert fits(structure_of(shapes), row.structure)


def test_the_layout_of_the_speech_injector_holds():
    width = LARGE.dim
    shapes = dict(shapes_of(LARGE))
    shapes |= both("cond_encoder", width, 16, 1, 2, 2)
    shapes |= {
        "trainable_cond_mask.weight": (3, width), "casual_audio_encoder.weights": (1, 25, 1, 1)
    }  # fmt: skip
    encoder = "casual_audio_encoder.encoder"
    for layer, *shape in (
        ("conv1_local.conv", 5120, 1024, 3), ("conv1_global.conv", 1280, 1024, 3),
        ("conv2.conv", 2560, 1280, 3), ("conv3.conv", 5120, 2560, 3), ("final_linear", 5120, 5120),
    ):  # fmt: skip
        shapes |= both(f"{encoder}.{layer}", *shape)
    shapes[f"{encoder}.padding_tokens"] = (1, 1, 1, 5120)
    for number in range(12):
        block = f"audio_injector.injector.{number}"
        for layer in "qkvo":
            shapes |= both(f"{block}.{layer}", width, width)
        shapes |= {f"{block}.{norm}.weight": (width,) for norm in ("norm_q", "norm_k")}
        adain = f"audio_injector.injector_adain_layers.{number}.linear"
        shapes |= both(adain, 2 * width, width)
    for name, side in (("proj", (1, 2, 2)), ("proj_2x", (2, 4, 4)), ("proj_4x", (4, 8, 8))):
        shapes |= both(f"frame_packer.{name}", width, 16, *side)
    row = ROWS["wan2.2-s2v-14b"]
    count = sum(prod(shape) for shape in shapes.values())
    assert (layout_md5(shapes), len(shapes), count) == (
        row.layout.md5, row.layout.tensors, row.layout.parameters,
    )  # fmt: skip
    assert fits(structure_of(shapes), row.structure)
