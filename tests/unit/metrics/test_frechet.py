"""The Frechet distance against its formula, and features from a scripted network."""

import warnings

import pytest
import scipy.linalg
import torch
from torch import nn

from wanctl.metrics.frechet import FeatureNetworkError, VideoFeatures, frechet_distance


class Tiny(nn.Module):
    """Called like the I3D of the field; gives mean and largest value of each channel."""

    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        if rescale or resize or not return_features:
            return x.mean()
        flat = x.flatten(2)
        return torch.cat([flat.mean(2), flat.amax(2), torch.tensor([[float(x.shape[3])]])], dim=1)


def scripted(module, path):
    """TorchScript is deprecated; the field's network is still such a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(module).save(str(path))
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("fvd") / "i3d_torchscript.pt"
    return scripted(Tiny(), path)


def features(count, dim, seed, scale=1.0):
    return scale * torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)).double()


def test_it_is_the_formula_with_the_square_root_of_a_matrix():
    x, y = features(60, 5, 0), features(40, 5, 1, 2.0) + 0.5
    a, b = torch.cov(x.T), torch.cov(y.T)
    root = scipy.linalg.sqrtm((a @ b).numpy()).real
    expected = (x.mean(0) - y.mean(0)).square().sum() + (a + b).trace() - 2 * root.trace()
    assert frechet_distance(x, y) == pytest.approx(float(expected), rel=1e-9)


def test_one_dimension_by_hand_and_fewer_videos_than_features():
    x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [11.0]])
    # means 1 and 7; variances 2 and 32, roots sqrt(2) and 4 sqrt(2)
    assert frechet_distance(x, y) == pytest.approx(6**2 + (4 * 2**0.5 - 2**0.5) ** 2)
    few = features(3, 400, 2)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(few, few + 1) == pytest.approx(400)
    with pytest.raises(ValueError, match="need two of each"):
        frechet_distance(few[:1], few)


def test_a_video_is_scaled_and_the_middle_square_shown_to_the_network(network):
    video = torch.full((3, 10, 30, 60), -1.0)
    video[0, :, :, 16:44] = 0.5  # the middle square is columns 15 to 44
    got = VideoFeatures(network, torch.device("cpu"))(video)
    assert got.dtype == torch.float64
    assert got[1:3].tolist() == [-1, -1]
    assert got[3] == pytest.approx(0.5)
    assert got[0] == pytest.approx(-1 + 1.5 * 28 / 30, abs=0.01)
    assert got[6] == 224


def test_files_that_are_no_network_are_named(network, tmp_path):
    cpu = torch.device("cpu")
    with pytest.raises(FeatureNetworkError, match=r"nowhere\.pt: no such file.*i3d_torchscript"):
        VideoFeatures(tmp_path / "nowhere.pt", cpu)
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    with pytest.raises(FeatureNetworkError, match=r"text\.pt: is no TorchScript file"):
        VideoFeatures(tmp_path / "text.pt", cpu)
    other = scripted(nn.Linear(3, 3), tmp_path / "linear.pt")
    with pytest.raises(FeatureNetworkError, match=r"linear\.pt: does not take a video"):
        VideoFeatures(other, cpu)(torch.zeros(3, 10, 32, 32))
