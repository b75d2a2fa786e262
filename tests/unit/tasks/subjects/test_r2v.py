"""Task r2v: what becomes of the reference images, and what is refused."""

import pytest

from tests.unit.tasks.test_image_channels import SIZE, TEXTS, VAE, Encoders, picture
from wanctl.errors import UserError
from wanctl.model.variant_table import VARIANTS
from wanctl.tasks.inputs import NO_INPUTS, Inputs, RequestedSize
from wanctl.tasks.sizing import letterbox_lanczos
from wanctl.tasks.table import TASKS

R2V, PHANTOM = TASKS["r2v"], VARIANTS["phantom-1.3b"]
BLACK, GREY = picture(-1.0), picture(0.0, (64, 48))


def test_each_image_is_one_latent_frame_on_white_after_the_video():
    inputs = Inputs(references=(BLACK, GREY))
    conditions = R2V.conditions(TEXTS, 6, inputs, SIZE, Encoders(PHANTOM.dit))
    references = conditions.references
    assert references.latents.shape == (2, 3, 2, 4, 6)
    assert not references.before
    assert references.timestep is None
    assert (references.latents[:, :, 0] == -1).all()
    # twice as high as wide on a canvas of 32 x 48: 24 columns in the middle
    columns = references.latents[0, 0, 1].mean(dim=0)
    assert columns[[0, 5]].tolist() == [1, 1]
    assert columns[2:4].abs().max() < 0.01


def test_a_letter_box_keeps_the_whole_picture():
    wide = letterbox_lanczos(picture(-1.0, (10, 30)), (32, 48))
    assert wide.shape == (3, 32, 48)
    assert (wide[:, 8:24] == -1).all()
    assert (wide[:, :8] == 1).all()
    assert (wide[:, 24:] == 1).all()
    exact = picture(0.25)
    assert (letterbox_lanczos(exact, (32, 48)) - exact).abs().max() < 0.005


def test_the_sequence_and_the_noise_grow_by_the_references():
    inputs = Inputs(references=(BLACK,) * 3)
    assert R2V.latent_shape(VAE, 81, 480, 832, inputs) == (16, 21, 60, 104)
    assert R2V.more_frames(21, 3) == R2V.dropped_noise(inputs) == 3
    assert R2V.dropped_noise(NO_INPUTS) == 0


def test_only_the_variants_of_references_do_it():
    assert [name for name, each in VARIANTS.items() if "r2v" in each.tasks] == [
        "phantom-1.3b", "phantom-14b",
    ]  # fmt: skip
    assert R2V.refusal(PHANTOM.dit) is None
    assert "control" in R2V.refusal(VARIANTS["wan2.1-vace-1.3b"].dit)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (NO_INPUTS, "references: task r2v needs one"),
        (Inputs(references=(BLACK,) * 5), "references: got 5; task r2v takes 1 to 4 pictures"),
        (Inputs(references=(BLACK,), image=BLACK), "image: task r2v takes none"),
        (Inputs(references=(picture(0.0, (1, 999)),)), "references: got a picture of 999x1"),
    ],
)
def test_wrong_inputs_are_one_line(inputs, message):
    with pytest.raises(UserError, match=message):
        R2V.size(inputs, RequestedSize(height=32, width=48), PHANTOM.defaults, VAE)
