"""Animate's transformer equals that of diffusers, and reads each frame's face in that frame."""

import pytest
import torch

from tests.unit.model.dit.animate_models import FACE, SHAPE, diffusers_animate, random_animate
from wanctl.model.dit.networks import make_dit

FRAMES = 3  # latent frames of the video


@pytest.fixture(scope="module")
def model():
    return random_animate()


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return {
        "latents": draw(2, 36, FRAMES + 1, 4, 6),
        "text": draw(2, 512, 24),
        "image": draw(2, 9, 16),
        "pose": draw(2, 16, FRAMES, 4, 6),
        "face": draw(2, 3, 4 * (FRAMES - 1) + 1, FACE.side, FACE.side),
    }


def velocity(model, inputs, **changed):
    given = inputs | changed
    return model(
        given["latents"], torch.tensor([500.0, 20.0]), given["text"], image_BIE=given["image"],
        pose_BCTYX=given["pose"], face_BTJD=model.read_performer(given["face"]),
    )  # fmt: skip


@pytest.mark.slow
@torch.no_grad()
def test_it_is_that_of_diffusers(model, inputs):
    theirs = diffusers_animate(model)(
        hidden_states=inputs["latents"], timestep=torch.tensor([500.0, 20.0]),
        encoder_hidden_states=inputs["text"], encoder_hidden_states_image=inputs["image"],
        pose_hidden_states=inputs["pose"], face_pixel_values=inputs["face"],
    ).sample  # fmt: skip
    ours = velocity(model, inputs)
    assert theirs.std() > 0.3
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


@torch.no_grad()
def test_face_tokens_are_causal_and_the_character_has_none(model, inputs):
    tokens = model.read_performer(inputs["face"])
    assert tokens.shape == (2, FRAMES + 1, FACE.heads + 1, SHAPE.dim)
    assert not tokens[:, 0].any()
    changed = inputs["face"].clone()
    changed[:, :, 5:] = 0  # the frames of the last latent frame
    other = model.read_performer(changed)
    assert torch.allclose(other[:, :3], tokens[:, :3], atol=1e-6)
    assert (other[:, 3] - tokens[:, 3]).abs().max() > 1e-3


@torch.no_grad()
def test_poses_and_faces_change_the_velocity_in_both_precisions(model, inputs):
    plain = velocity(model, inputs)
    for key in ("pose", "face"):
        assert (velocity(model, inputs, **{key: inputs[key] + 1}) - plain).abs().max() > 1e-4
    fast = make_dit(SHAPE).eval()
    fast.load_state_dict(model.state_dict())
    torch.testing.assert_close(velocity(fast, inputs), plain, atol=2e-5, rtol=0)
    with pytest.raises(ValueError, match="pose, face: got 2 and 4 latent frames; need 3 and 4"):
        velocity(model, inputs, pose=inputs["pose"][:, :, :2])
