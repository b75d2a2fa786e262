"""Rows are found by tensors, then by names; small random models of a family are found as well."""

import json
from dataclasses import replace

import pytest
import torch
from family_models import state_of
from safetensors.torch import save_file

from wanctl.checkpoint.find import find_components
from wanctl.checkpoint.recognition.recognise import recognise, recognise_hub_id, recognise_lora
from wanctl.checkpoint.registry import structures
from wanctl.checkpoint.registry.table import checkpoints

T2V, I2V = "wan2.1-t2v-14b", "wan2.1-i2v-14b-480p"
T2V_A14B, I2V_A14B = "wan2.2-t2v-a14b", "wan2.2-i2v-a14b"


def found(path, **more):
    return recognise(find_components(path), ref=str(path), **more)


MODELS = [row for row in checkpoints().values() if row.kind == "model" and row.structure]


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_small_models_are_recognised_by_family_and_name(row, tmp_path):
    words = row.marks[0] if row.marks else row.title
    path = tmp_path / f"{words.replace(' ', '-')}.safetensors"
    save_file(state_of(row.structure), path)
    got = found(path, variant=row.variant, two_experts=row.experts == 2)
    assert got.row
    assert got.structure == replace(row.structure, optional=frozenset())
    # sizes tell 1.3B from 14B, and a small model has neither
    assert (got.row.structure, got.row.marks) == (row.structure, row.marks)
    assert not got.exact
    assert bool(got.why_not) == bool(row.unsupported)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("self_forcing_dmd", "self-forcing-1.3b"),
        ("Self-Forcing/checkpoints/model", "wan2.1-t2v-1.3b"),  # two folders up says nothing
        ("CausVid/model", "causvid-1.3b"),
        ("rCM_Wan2.1_T2V_1.3B_480p", "rcm-t2v-1.3b"),
        ("models--gdhe17--Self-Forcing/snapshots/0123/checkpoints/dmd", "self-forcing-1.3b"),
        ("longlive_base", "longlive-1.3b"),
        ("phantom/Phantom-Wan-1.3B", "phantom-1.3b"),
        ("Wan2_1-SkyReels-V2-DF-14B-540P_fp8", "skyreels-v2-df-14b"),
        ("my fine tune", "wan2.1-t2v-1.3b"),
        ("forcing myself", "wan2.1-t2v-1.3b"),
        ("wan2.1_t2v_1.3B_fp16", "wan2.1-t2v-1.3b"),
    ],
)
def test_names_tell_models_with_the_same_tensors_apart(tmp_path, name, expected):
    path = tmp_path / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state_of(structures.Structure()), path)
    got = found(path)
    assert got.row.name == expected
    assert got.named == (got.row.name != "wan2.1-t2v-1.3b")
    assert "krea-realtime-14b" in {row.name for row in got.alike}


def test_headers_and_configs_tell_as_well(tmp_path):
    state, path = state_of(structures.Structure()), tmp_path / "a.safetensors"
    save_file(state, path, {"modelspec.title": "Self Forcing, DMD"})
    assert found(path).row.name == "self-forcing-1.3b"
    save_file(state, path, {"wanctl.checkpoint": "krea-realtime-14b", "title": "Self Forcing"})
    assert found(path).row.name == "krea-realtime-14b"
    folder = tmp_path / "folder" / "transformer"
    folder.mkdir(parents=True)
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    config = {"_name_or_path": "someone/CausVid"}
    (folder / "config.json").write_text(json.dumps(config))
    assert found(tmp_path / "folder").row.name == "causvid-1.3b"


def test_the_prefix_of_published_files_is_a_hint(tmp_path, monkeypatch):
    state = state_of(structures.Structure())
    prefixed = {f"model.{name}": tensor for name, tensor in state.items()}
    save_file(prefixed, tmp_path / "a.safetensors")
    digest = structures.layout_md5({name: tuple(t.shape) for name, t in prefixed.items()})
    row = checkpoints()["krea-realtime-14b"]
    known = replace(row, layout=replace(row.layout, stored_md5=digest))
    rows = {**checkpoints(), known.name: known}
    monkeypatch.setattr("wanctl.checkpoint.recognition.recognise.checkpoints", lambda: rows)
    got = found(tmp_path / "a.safetensors")
    assert (got.row.name, got.hinted) == ("wan2.1-t2v-1.3b", (known,))


def test_experts_and_the_variant_narrow(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(state_of(structures.Structure()), path)
    assert found(path, two_experts=True).row.name == "wan2.2-t2v-a14b"
    assert found(path, variant="wan2.1-t2v-14b").row.name == "wan2.1-t2v-14b"
    assert found(path, variant="wan2.1-flf2v-14b").row.name == "wan2.1-t2v-1.3b"


def test_what_has_no_row_is_none(tmp_path):
    path = tmp_path / "a.safetensors"
    state = state_of(structures.Structure(copies=5))
    save_file(state, path)
    assert found(path).row is None
    save_file({n: t for n, t in state.items() if not n.startswith("head.")}, path)
    assert found(path).structure is None


@pytest.mark.parametrize(
    ("name", "part", "row", "why"),
    [
        ("SkyReels-V2-DF-1.3B", structures.FRAME_RATE, "skyreels-v2-df-1.3b", ""),
        ("turbowan-1.3b", structures.INT8, "turbowan-t2v-1.3b", "its int8 matrices have no scales"),
    ],
)
def test_parts_that_a_model_may_have(tmp_path, name, part, row, why):
    path = tmp_path / f"{name}.safetensors"
    parts = {part, structures.LINEAR_ATTENTION} if part == structures.INT8 else {part}
    save_file(state_of(structures.Structure(parts=frozenset(parts))), path)
    got = found(path)
    assert got.row.name == row
    assert (got.why_not or "").split(";")[0] == why


def test_hub_ids():
    assert recognise_hub_id("Wan-AI/Wan2.1-T2V-14B-Diffusers").name == "wan2.1-t2v-14b"
    assert recognise_hub_id("krea/krea-realtime-video").name == "krea-realtime-14b"
    assert recognise_hub_id("lightx2v/Wan2.2-Distill-Models") is None  # of two models
    assert recognise_hub_id("someone/else") is None


@pytest.mark.parametrize(
    ("name", "variant", "expected"),
    [
        ("Wan21_T2V_14B_lightx2v_cfg_step_distill_lora", T2V, "lightx2v-lora-t2v-14b"),
        ("wan2.1_i2v_lora_rank64_lightx2v_4step", I2V, "lightx2v-lora-i2v-14b"),
        ("Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH_fp16", T2V_A14B, "wan2.2-lightning-t2v-a14b"),
        ("wan2.2_i2v_lightx2v_4steps_lora_high_noise", I2V_A14B, "wan2.2-lightning-i2v-a14b"),
        ("wan2.2_lightning_8steps", T2V_A14B, "wan2.2-lightning-t2v-a14b-8-steps"),
        ("Wan21_CausVid_14B_T2V_lora_rank32", T2V, "causvid-lora-14b"),
        ("lightning over the sea", T2V_A14B, None),
        ("my cat", T2V, None),
    ],
)  # fmt: skip
def test_loras_are_recognised_by_name(tmp_path, name, variant, expected):
    path = tmp_path / f"{name}.safetensors"
    save_file({"blocks.0.ffn.0.lora_A.weight": torch.zeros(2, 128)}, path)
    row = recognise_lora(path, variant)
    assert (row and row.name) == expected
