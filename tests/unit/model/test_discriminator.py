import pytest
import torch
import torch.nn.functional as F

from wanctl.model.discriminator import DiscriminatorSizeError, PatchDiscriminator


@pytest.fixture(scope="module")
def discriminator():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PatchDiscriminator(width=8, layers=3)


@pytest.mark.parametrize(
    ("shape", "logits"),
    [((1, 8, 8), (1, 1, 1)), ((1, 40, 24), (1, 5, 3)), ((5, 16, 32), (3, 2, 4)),
     ((17, 50, 70), (9, 6, 8))],
)  # fmt: skip
def test_takes_images_and_clips_of_any_size(discriminator, shape, logits):
    assert discriminator(torch.rand(2, 3, *shape)).shape == (2, *logits)


def test_a_logit_sees_a_patch_of_past_and_future():
    without_norms = PatchDiscriminator(width=8, layers=3)
    for name, module in without_norms.blocks.named_children():
        if isinstance(module, torch.nn.GroupNorm):  # its statistics reach everywhere
            without_norms.blocks[int(name)] = torch.nn.Identity()
    video = torch.zeros(1, 3, 33, 96, 96, requires_grad=True)
    without_norms(video)[0, 8, 6, 6].backward()
    seen = video.grad[0].abs().sum(0) > 0
    assert seen.flatten(1).any(1).sum() == 11
    assert seen.any(0).any(1).sum() == 38


def test_a_single_image_is_convolved_as_any_clip(discriminator):
    image = torch.rand(2, 3, 1, 24, 32)
    layer = discriminator.first
    expected = F.conv3d(image, layer.weight, layer.bias, layer.stride, layer.padding)
    torch.testing.assert_close(layer(image), expected)


def test_samples_of_a_batch_do_not_meet(discriminator):
    clips = torch.rand(3, 3, 5, 16, 16)
    one_by_one = torch.cat([discriminator(clip[None]) for clip in clips])
    torch.testing.assert_close(discriminator(clips), one_by_one)


def test_too_few_pixels_are_one_line(discriminator):
    with pytest.raises(DiscriminatorSizeError, match="got 16x4 pixels; its layers need 8") as error:
        discriminator(torch.rand(1, 3, 1, 4, 16))
    assert len(error.value.lines) == 1
