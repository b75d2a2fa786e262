"""Task recamera: the source, the poses and their axes, what is refused."""

import numpy as np
import pytest
import torch

from tests.unit.tasks.test_image_channels import SIZE, TEXTS, VAE, Encoders, footage, numbers
from wanctl.camera.moves import Move
from wanctl.camera.options import CameraOptions
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variant_table import VARIANTS
from wanctl.tasks.inputs import Inputs, RequestedSize
from wanctl.tasks.subjects.recamera import latent_poses
from wanctl.tasks.table import TASKS

RECAMERA, VARIANT = TASKS["recamera"], VARIANTS["recammaster-1.3b"]


def moves(*names):
    return CameraOptions(moves=tuple(map(Move, names)))


def inputs(**more):
    return Inputs(**{"video": footage(), "camera": moves("left"), "fps": 10.0, **more})


def test_the_source_is_read_at_the_output_s_rate_and_follows_the_video():
    encode = Encoders(VARIANT.dit)
    conditions = RECAMERA.conditions(TEXTS, 6, inputs(), SIZE, encode)
    assert numbers(encode.video) == list(range(0, 18, 2))
    references = conditions.references
    assert not references.before
    assert references.timestep is None
    assert references.latents.shape == (2, 3, 3, 4, 6)
    assert torch.equal(references.latents[1], encode.video[:, ::4, ::8, ::8])
    assert conditions.poses.shape == (2, 3, 12)
    assert torch.equal(conditions.poses[0, 0].view(3, 4), torch.eye(4)[:3])
    assert RECAMERA.more_frames(21, 0) == 21


# What the ten published paths do at their end, brought to the axes of the model: the signs of the
# way (right, down, forward) and of the direction of sight (right, down).
PUBLISHED = {
    "pan-right": ((0, 0, 0), (1, 0)), "pan-left": ((0, 0, 0), (-1, 0)),
    "tilt-up": ((0, 0, 0), (0, -1)), "tilt-down": ((0, 0, 0), (0, 1)),
    "in": ((0, 0, 1), (0, 0)), "out": ((0, 0, -1), (0, 0)),
    "crane-up": ((0, -1, 0), (0, 1)), "crane-down": ((0, 1, 0), (0, -1)),
    "arc-left": ((-1, 0, 1), (1, 0)), "arc-right": ((1, 0, 1), (-1, 0)),
}  # fmt: skip


@pytest.mark.parametrize("move", PUBLISHED)
def test_moves_have_the_axes_of_the_published_paths(move):
    last = latent_poses(moves(move).path(81))[-1].reshape(3, 4)
    way, sight = PUBLISHED[move]
    assert tuple(np.sign(np.round(last[:, 3], 6)).astype(int)) == way
    assert tuple(np.sign(np.round(last[:2, 2], 6)).astype(int)) == sight
    assert np.linalg.norm(last[:, 3]) < 3


def test_every_fourth_pose_counts_seen_from_the_first():
    path = moves("pan-right", "in").path(81)
    poses = latent_poses(path)
    assert poses.shape == (21, 12)
    assert poses.dtype == np.float32
    expected = (np.linalg.inv(path.poses[0]) @ path.poses[8])[:3]
    assert np.abs(poses[2].reshape(3, 4) - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (RequestedSize(), PixelShape(17, 512, 768)),
        (RequestedSize(frames=9), PixelShape(9, 512, 768)),
        (RequestedSize(None, 480, 832, exact=True), PixelShape(17, 480, 832)),
    ],
)
def test_the_output_has_the_source_s_shape_and_length(requested, expected):
    assert RECAMERA.size(inputs(), requested, VARIANT.defaults, VAE) == expected


@pytest.mark.parametrize(
    ("more", "frames", "message"),
    [
        ({"video": None}, None, "video: task recamera needs one"),
        ({"camera": None}, None, "camera: task recamera needs one; say `--set sample.camera='{m"),
        ({}, 81, r"frames: got 81; clip\.mp4 holds 20 at 10 fps: say `--set sample.frames=17`"),
        ({"camera": moves("lefft")}, None, r"camera\.moves: no move named 'lefft'; did you mean"),
        ({"image": torch.zeros(3, 8, 8)}, None, "image: task recamera takes none"),
    ],
)
def test_wrong_inputs_are_one_line(more, frames, message):
    with pytest.raises(UserError, match=message):
        RECAMERA.size(inputs(**more), RequestedSize(frames), VARIANT.defaults, VAE)


def test_only_models_that_read_poses_do_it():
    assert RECAMERA.refusal(VARIANT.dit) is None
    assert "would ignore the path" in RECAMERA.refusal(VARIANTS["wan2.1-t2v-1.3b"].dit)
    with pytest.raises(UserError, match="frames: got 1"):
        RECAMERA.latent_shape(VAE, 1, 480, 832)
