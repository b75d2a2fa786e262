"""Recipes of stages: those of curation, whose data set serves all, and those of a VAE."""

from itertools import pairwise

import pytest

from wanctl.curate.registry import build_filters
from wanctl.recipe.validate import load_checked
from wanctl.train.vae.run import next_command

STAGES = ("curate-256p", "curate-480p", "curate-720p", "curate-post")
VAE_STAGES = ("vae-stage1-image", "vae-stage2-video", "vae-stage3-gan")


def filters(name):
    return {f.name: f.filter for f in build_filters(load_checked(name).recipe.curate.filters)}


@pytest.mark.parametrize("name", STAGES[1:])
def test_all_stages_have_the_measurements_of_the_first(name):
    first, later = filters(STAGES[0]), filters(name)
    assert {n: later[n].config_hash() for n in first} == {
        n: f.config_hash() for n, f in first.items()
    }


def test_later_stages_are_stricter():
    chain = [filters(name) for name in STAGES[:3]]
    assert [each["resolution"].min_short_px for each in chain] == [256, 480, 720]
    assert [each["ocr"].max_overlay for each in chain] == [0.045, 0.013, 0.007]
    assert [each["aesthetic"].min_mean for each in chain] == [3.5, 4.3, 4.5]
    assert "posttrain" in filters("curate-post")


def test_each_stage_of_a_vae_starts_from_the_folder_that_the_stage_before_writes():
    chain = [load_checked(name) for name in VAE_STAGES]
    assert chain[0].recipe.model.vae_weights is None
    for before, loaded in pairwise(chain):
        assert loaded.recipe.model.vae_weights == str(before.out_dir(None) / "vae")
        assert (
            next_command(before, before.out_dir(None)) == f"wanctl train-vae --recipe {loaded.name}"
        )
    assert next_command(chain[-1], chain[-1].out_dir(None)).startswith("wanctl train-dit")
    (dataset,) = {loaded.recipe.dataset.path for loaded in chain}
    assert dataset == chain[0].out_dir(None) / "dataset", "where curate writes it"
    assert {loaded.recipe.train_vae.latent_statistics for loaded in chain} == {"measure"}
    video = chain[1].recipe.train_vae
    assert [(b.frames, b.height, b.width) for b in video.buckets] == [(5, 128, 128)]
    assert (video.loss.l1.weight, video.loss.kl.weight, video.loss.perceptual.weight) == (
        3,
        3e-6,
        3,
    )
    adversarial = [loaded.recipe.train_vae.loss.adversarial.weight > 0 for loaded in chain]
    assert adversarial == [False, False, True]


@pytest.mark.parametrize("name", ["vae-finetune", "vae22-finetune"])
def test_fine_tuning_keeps_published_latents(name):
    section = load_checked(name).recipe.train_vae
    assert (section.trained, section.latent_statistics) == (("decoder",), "keep")
