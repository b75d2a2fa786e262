"""Names and sizes that only a table can judge are reported at their lines, before any work."""

from pathlib import Path

import pytest

from wanctl.errors import ProblemsError
from wanctl.recipe.load import RecipeError, shipped_recipes
from wanctl.recipe.schema import Recipe
from wanctl.recipe.validate import check_sections, load_checked


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_have_no_mistakes(name):
    assert load_checked(name).name == name


@pytest.mark.parametrize(
    ("section", "text", "expected"),
    [
        (
            "curate",
            "curate:\n  engine: locl\n",
            "r.yaml:2: curate.engine: no engine named 'locl'; did you mean 'local'?",
        ),
        (
            "export",
            "export:\n  layout: webdatset\n",
            "r.yaml:2: export.layout: no layout named 'webdatset'; did you mean 'webdataset'?",
        ),
        (
            "model",
            "model:\n  variant: tiny\n  attention: flsh\n",
            "r.yaml:3: model.attention: no kernel named 'flsh'; did you mean 'flash'?",
        ),
        (
            "model",
            "model:\n  variant: tiny\n  loras:\n  - path: a\n  - path: b\n    expert: low\n",
            "r.yaml:6: model.loras.1.expert: got 'low', and tiny is one transformer; leave it out",
        ),
        (
            "model",
            "model:\n  vae_tile: 100\n",
            "r.yaml:2: model.vae_tile: got 100; must be a multiple of 8 and at least 224",
        ),
        (
            "model",
            "model:\n  variant: wan2.2-ti2v-5b\n  vae_tile: 224\n",
            "r.yaml:3: model.vae_tile: got 224; must be a multiple of 16 and at least 448",
        ),
        (
            "train_vae",
            "train_vae:\n  trackers:\n  - wandb\n  - tensorbord\n",
            "r.yaml:4: train_vae.trackers.1: no tracker named 'tensorbord'; did you mean "
            "'tensorboard'?",
        ),
        (
            "train_dit",
            "model:\n  variant: wan2.2-ti2v-5b\ntrain_dit:\n  buckets:\n"
            "  - {frames: 5, height: 64, width: 64}\n"
            "  - frames: 5\n    height: 64\n    width: 80\n",
            "r.yaml:8: train_dit.buckets.1.width: got 80; must be a multiple of 32, nearest: 64 "
            "or 96 (wan2.2-ti2v-5b)",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    law: logitnormal\n",
            "r.yaml:3: train_dit.timesteps.law: no law named 'logitnormal'; did you mean "
            "'logit_normal'?",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    law: uniform\n    mean: 0.5\n",
            "r.yaml:4: train_dit.timesteps.mean: got 0.5, which uniform does not use; leave it out",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    mode_scale: 0.5\n",
            "r.yaml:3: train_dit.timesteps.mode_scale: got 0.5, which logit_normal does not use; "
            "leave it out",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    weighting: cosmap\n    min_snr_gamma: 3\n",
            "r.yaml:4: train_dit.timesteps.min_snr_gamma: got 3.0, which cosmap does not use; "
            "leave it out",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    shift_formula: sqrt_tokens\n",
            "r.yaml:3: train_dit.timesteps.shift_formula: sqrt_tokens needs shift_tokens; set it",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    shift_tokens: 512\n",
            "r.yaml:3: train_dit.timesteps.shift_tokens: got 512, which constant does not use",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    bucket_shifts:\n      17x256x265: 2\n",
            "r.yaml:4: train_dit.timesteps.bucket_shifts.17x256x265: no bucket named '17x256x265'; "
            "did you mean '17x256x256'?",
        ),
        (
            "train_dit",
            "train_dit:\n  timesteps:\n    shift: 5\n    bucket_shifts: {17x256x256: 2}\n",
            "r.yaml:3: train_dit.timesteps.shift: got 5.0, and bucket_shifts has every bucket; "
            "leave it out",
        ),
        (
            "train_dit",
            "train_dit:\n  experts: low\n",
            "r.yaml:2: train_dit.experts: got low, and wan2.1-t2v-1.3b has no experts; leave",
        ),
        (
            "train_dit",
            "model: {variant: wan2.2-t2v-a14b}\ntrain_dit:\n  experts: low\n  expert_steps: 5\n",
            "r.yaml:4: train_dit.expert_steps: got 5, and low learns in every step; leave it out",
        ),
        (
            "train_vae",
            "train_vae:\n  optimizer:\n    name: moun\n",
            "r.yaml:3: train_vae.optimizer.name: no optimizer named 'moun'; did you mean 'muon'?",
        ),
        (
            "train_dit",
            "train_dit:\n  optimizer:\n    momentum: 0.9\n",
            "r.yaml:3: train_dit.optimizer.momentum: got 0.9, which adamw does not use; leave it",
        ),
        (
            "train_vae",
            "train_vae:\n  ema_decay: 0\n  optimizer:\n    name: schedulefree\n    decay: cosine\n",
            "r.yaml:5: train_vae.optimizer.decay: got cosine; schedulefree takes `constant`",
        ),
        (
            "train_vae",
            "train_vae:\n  ema_decay: 0.9\n  optimizer:\n    name: schedulefree\n",
            "r.yaml:2: train_vae.ema_decay: got 0.9; schedulefree averages the weights itself",
        ),
        (
            "train_dit",
            "train_dit:\n  optimizer:\n    final_share: 0.2\n",
            "r.yaml:3: train_dit.optimizer.final_share: got 0.2, which constant does not use",
        ),
        (
            "train_dit",
            "train_dit:\n  optimizer:\n    decay: linear\n    plateau:\n      patience: 2\n",
            "r.yaml:4: train_dit.optimizer.plateau: has keys, which linear does not use; leave it",
        ),
        (
            "train_dit",
            "train_dit:\n  optimizer:\n    name: prodigy\n    groups:\n"
            "    - match: '*norm*'\n      lr_factor: 0.1\n",
            "r.yaml:6: train_dit.optimizer.groups.0.lr_factor: got 0.1; prodigy has one rate for",
        ),
        (
            "train_dit",
            "train_dit:\n  optimizer:\n    groups:\n    - match: '*norm*'\n",
            "r.yaml:4: train_dit.optimizer.groups.0.match: the group changes nothing; set",
        ),
        (
            "train_dit",
            "train_dit:\n  mixed_precision: bf16\n"
            "  optimizer:\n    name: muon\n    weights: bf16\n",
            "r.yaml:5: train_dit.optimizer.weights: got bf16, which muon does not use; leave",
        ),
        (
            "train_dit",
            "train_dit:\n  optimizer:\n    weights: bf16\n",
            "r.yaml:3: train_dit.optimizer.weights: got bf16 with mixed_precision no; set mixed",
        ),
        (
            "train_vae",
            "train_vae:\n  mixed_precision: bf16\n  optimizer:\n    weights: bf16\n",
            "r.yaml:4: train_vae.optimizer.weights: got bf16; a VAE is measured in fp32",
        ),
        (
            "train_vae",
            "train_vae:\n  steps: 2500\n  optimizer:\n    decay: plateau\n",
            "r.yaml:4: train_vae.optimizer.decay: got plateau, which lowers lr after 2500 steps",
        ),
        (
            "train_vae",
            "train_vae:\n  ema_decay: 0\n  ema_device: cpu\n",
            "r.yaml:3: train_vae.ema_device: got cpu, but ema_decay 0 keeps no average; leave it",
        ),
        (
            "sample",
            "sample:\n  solver: unipcc\n",
            "r.yaml:2: sample.solver: no solver named 'unipcc'; did you mean 'unipc'?",
        ),
        (
            "sample",
            "sample:\n  vace:\n    mask_form: hul\n",
            "r.yaml:3: sample.vace.mask_form: no form named 'hul'; did you mean 'hull'?",
        ),
        (
            "sample",
            "sample:\n  vace:\n    scale: 2\n    control: gray\n",
            "r.yaml:4: sample.vace.control: no control named 'gray'; did you mean 'grey'?",
        ),
    ],
)
def test_a_name_is_reported_at_its_line(tmp_path, monkeypatch, section, text, expected):
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_checked("r.yaml", (), (section,))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(expected)


def test_the_vae_alone_takes_sides_that_the_transformer_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(
        "model: {variant: wan2.2-ti2v-5b}\n"
        "train_vae: {buckets: [{frames: 5, height: 64, width: 80}]}\n"
        "train_dit: {buckets: [{frames: 5, height: 64, width: 96}]}\n",
        encoding="utf-8",
    )
    assert load_checked("r.yaml").recipe.train_vae.buckets[0].width == 80


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        (
            {"adapter": {"targets": ["ffn", "self_atn"]}},
            "adapter.targets.1.layers",
            "near are self",
        ),
        ({"adapter": {"rank": 5000}}, "adapter.rank", "got 5000 for blocks.*.self_attn, but"),
        (
            {"trained": ["blocks.0", "heads"]},
            "trained.1",
            "got 'heads', which matches no parameter",
        ),
    ],
)
def test_what_is_trained_is_a_part_of_the_variant(change, where, message):
    recipe = Recipe.model_validate({"train_dit": change})
    with pytest.raises(ProblemsError) as caught:
        check_sections(recipe, ["train_dit"])
    ((path, text),) = caught.value.problems
    assert path == f"train_dit.{where}"
    assert message in text
