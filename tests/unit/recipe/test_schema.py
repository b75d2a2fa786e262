"""Keys that contradict each other are reported at the line of the key to change."""

from pathlib import Path

import pytest

from wanctl.recipe.load import RecipeError, load_recipe


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda text: Path("r.yaml").write_text(text, encoding="utf-8")


def mistakes(*overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe("r.yaml", overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "export:\n  fps: 8\n  width: 320\n",
            "r.yaml:3: export.width: got 320 alone; set both height and width, or neither",
        ),
        (
            "export:\n  height: 240\n  fps: 8\n",
            "r.yaml:2: export.height: got 240 alone; set both height and width, or neither",
        ),
        (
            "curate:\n  filters: {motion: {}, blur: {}}\n  balance:\n    power: 0.5\n"
            "    by: moton\n",
            "r.yaml:5: curate.balance.by: no filter of this recipe named 'moton'; did you mean "
            "'motion'? (there are: blur, motion)",
        ),
        (
            "curate:\n  split:\n    min_clip_s: 3\n    max_clip_s: 2.5\n",
            "r.yaml:4: curate.split.max_clip_s: got 2.5, below min_clip_s (3), so that no piece "
            "would become a clip; raise it, or lower min_clip_s",
        ),
        (
            "sample:\n  vace:\n    layout:\n    - boxes:\n        0: [0, 0, 1, 1]\n"
            "        8: [0.5, 0, 0.5, 1]\n",
            "r.yaml:6: sample.vace.layout.0.boxes.8: got [0.5, 0.0, 0.5, 1.0]; need left < right "
            "and top < bottom",
        ),
        (
            "sample:\n  height: 64\n  frames: 16\n",
            "r.yaml:3: sample.frames: got 16; must be 4n+1, e.g. 13 or 17",
        ),
        (
            "sample:\n  height: 65\n",
            "r.yaml:2: sample.height: got 65; must be a multiple of 16, e.g. 64",
        ),
        (
            "text_images:\n  width: 8\n",
            "r.yaml:2: text_images.width: got 8; must be a multiple of 16, e.g. 16",
        ),
        (
            "train_dit:\n  buckets:\n  - frames: 1\n    height: 64\n    width: 100\n",
            "r.yaml:5: train_dit.buckets.0.width: got 100; must be a multiple of 16, e.g. 96",
        ),
        (
            "train_vae:\n  optimizer:\n    betas: [0.9, 1]\n",
            "r.yaml:3: train_vae.optimizer.betas.1: got 1; must be less than 1",
        ),
        ("\ndevice: tpu\n", "r.yaml:2: device: got 'tpu'; allowed are auto, cpu, cuda, cuda:N"),
        ("parallel:\n  cfg: 4\n", "r.yaml:2: parallel.cfg: got 4; allowed are 'auto', 1, 2 or 3"),
        (
            "parallel:\n  cfg: true\n",
            "r.yaml:2: parallel.cfg: got True; must be auto, or a number of processes from 1 to "
            "65536",
        ),
        (
            "train_vae:\n  loss:\n    perceptual: -1\n",
            "r.yaml:3: train_vae.loss.perceptual.weight: got -1; must be greater than or equal "
            "to 0",
        ),
        (
            "train_vae:\n  loss:\n    kl: none\n",
            "r.yaml:3: train_vae.loss.kl: got 'none'; must be a number (the weight), or a section "
            "with `weight`",
        ),
        (
            "train_vae:\n  loss:\n    l1: 3\n    perceptual_frames: 4\n",
            "r.yaml:4: train_vae.loss.perceptual_frames: this key has moved; write `perceptual: "
            "{weight: 3, frames: 4}`",
        ),
        (
            "train_vae:\n  loss:\n    perceptual: 0\n    l1: {weight: 1, from_step: 5}\n",
            "r.yaml:4: train_vae.loss.l1: nothing compares videos at step 0; give `l1` or "
            "`perceptual` a weight and `from_step: 0`",
        ),
        (
            "train_vae:\n  loss:\n    perceptual:\n      weight: 1\n      network: lpips-vgg\n",
            "r.yaml:3: train_vae.loss.perceptual.weights: lpips-vgg needs files: "
            "[vgg16-397923af.pth, vgg.pth] (torchvision's VGG16, the heads of the `lpips` package)",
        ),
        (
            "train_vae:\n  loss:\n    adversarial: {weight: 1, width: 20}\n",
            "r.yaml:3: train_vae.loss.adversarial.width: got 20; must be a multiple of 8, e.g. 16",
        ),
    ],
)
def test_a_mistake_is_reported_at_its_line(write, text, expected):
    write(text)
    assert mistakes() == [expected]


def test_a_bare_number_is_the_weight_of_a_loss_term(write):
    write("train_vae:\n  loss: {l1: 1, kl: {weight: 2, reduction: sample}, perceptual: 0.5}\n")
    loss = load_recipe("r.yaml", ["train_vae.loss.l1=4"]).recipe.train_vae.loss
    assert (loss.l1.weight, loss.kl.weight, loss.perceptual.weight) == (4, 2, 0.5)
    assert (loss.kl.reduction, loss.perceptual.from_step) == ("sample", 0)


def test_keys_that_fit_together(write):
    write(
        "export: {height: 240, width: 320}\n"
        "curate:\n  filters: {motion: null}\n  balance: {by: motion}\n"
        "  split: {min_clip_s: 2, max_clip_s: 2}\ndevice: cuda:1\nparallel: {cfg: 2}\n"
    )
    recipe = load_recipe("r.yaml").recipe
    assert (recipe.export.height, recipe.export.width) == (240, 320)
    assert recipe.device == "cuda:1"


def test_half_of_a_pair_given_with_set_is_reported_there(write):
    write("export: {fps: 8}\n")
    (line,) = mistakes("export.height=240")
    assert line.startswith("--set: export.height: got 240 alone")


def test_contradictions_come_together_with_wrong_values(write):
    write("seed: -1\nexport:\n  width: 320\n")
    assert [line.partition(": got")[0] for line in mistakes()] == [
        "r.yaml:1: seed",
        "r.yaml:3: export.width",
    ]


def test_a_wrong_value_is_no_contradiction_with_the_rest_of_its_section(write):
    write("export:\n  width: 320\n  height: 33.5\n")
    assert mistakes() == ["r.yaml:3: export.height: got 33.5; must be a whole number"]


def test_what_is_left_beside_a_contradiction_can_still_be_checked(write):
    write("export:\n  width: 320\ncurate:\n  balance: {power: 1}\nmodel:\n  variant: tiny\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("r.yaml")
    assert len(caught.value.problems) == 2
    assert caught.value.partial is not None
    assert caught.value.partial.recipe.model.variant == "tiny"
