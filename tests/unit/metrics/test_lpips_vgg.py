from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.models import vgg

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.metrics.lpips_vgg import VGGDistance


@pytest.fixture(scope="module")
def peer():
    """The peer's network with random weights; heads are not negative, as the published ones."""
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        # without the classifier, whose 120 million weights take seconds
        features = vgg.make_layers(vgg.cfgs["D"], batch_norm=False)
        made = SimpleNamespace(features=features)
        patch.setattr("torchvision.models.vgg16", lambda **_: made)
        network = _LPIPS(pretrained=False, net="vgg", pnet_rand=True)
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data.abs() if name.startswith("lin") else parameter.data
    return network


def layouts(network):
    """The published layouts: torchvision's features and the heads, and the whole network."""
    state = network.state_dict()
    heads = {k: v for k, v in state.items() if k.startswith("lin") and k.endswith("weight")}
    heads = {k: v for k, v in heads.items() if not k.startswith("lins")}
    features = {
        f"features.{k.split('.', 2)[2]}": v for k, v in state.items() if k.startswith("net.")
    }
    return state, features, heads


def images(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("layout", ["two files", "one file", "whole network"])
def test_agrees_with_torchmetrics_in_every_published_layout(peer, tmp_path, layout):
    state, features, heads = layouts(peer)
    files = [tmp_path / "vgg16-397923af.pth", tmp_path / "vgg.pth"]
    if layout == "two files":
        torch.save({**features, "classifier.0.weight": torch.zeros(2, 2)}, files[0])
        torch.save(heads, files[1])
    elif layout == "one file":
        files = [tmp_path / "both.safetensors"]
        save_file({**features, **heads}, files[0])
    else:
        files = files[:1]
        torch.save(state, files[0])
    distance = VGGDistance(files)
    x, y = images(0, 2, 3, 32, 48).requires_grad_(), images(1, 2, 3, 32, 48)
    expected, got = peer(x, y).flatten(), distance(x, y)
    # measured 2e-7 relative, of the largest gradient 4e-6
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
    (theirs,), (ours,) = (torch.autograd.grad(d.sum(), x) for d in (expected, got))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * theirs.abs().max().item())
    assert not any(p.requires_grad for p in distance.parameters())


def test_files_that_do_not_fit_are_named_in_one_line(peer, tmp_path):
    _, features, heads = layouts(peer)
    torch.save(features, tmp_path / "features.pth")
    with pytest.raises(
        WeightsError, match=r"features\.pth: .*5 missing \(lin0, lin1, lin2, \.\.\."
    ) as e:
        VGGDistance([tmp_path / "features.pth"])
    assert len(e.value.lines) == 1
    alex = {"lin0.model.1.weight": torch.zeros(1, 32, 1, 1)}
    torch.save({**features, **heads, **alex}, tmp_path / "alex.pth")
    with pytest.raises(WeightsError, match=r"lin0 \(1, 32, 1, 1\) instead of \(1, 64, 1, 1\)"):
        VGGDistance([tmp_path / "alex.pth"])
    with pytest.raises(WeightsError, match=r"missing\.pth"):
        VGGDistance([tmp_path / "missing.pth"])
