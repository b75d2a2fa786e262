from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from wanctl.checkpoint.files.tensor_files import WeightsError
from wanctl.checkpoint.save import save_vae
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import get_variant
from wanctl.model.variants import WAN22_VAE, VAEShape
from wanctl.train.vae.inflation import START_LOG_VARIANCE
from wanctl.train.vae.start import VAESource, VAEStartError, start_vae

SHAPE21 = VAEShape(
    dim=6, z_dim=3, num_res_blocks=1, latent_mean=(0.5, 0.0, -1.0), latent_std=(1.0, 2.0, 0.5)
)  # fmt: skip
SHAPE22 = replace(SHAPE21, residual=True, patch=2, decoder_dim=10, dim=6)


def variant_of(shape):
    return replace(get_variant("tiny"), vae=shape)


@pytest.fixture
def trained(tmp_path):
    """A folder with a VAE whose every weight is random, kernels over time and gammas too."""

    def build(shape):
        torch.manual_seed(1)
        vae = WanVAE(shape).eval()
        with torch.no_grad():
            for name, parameter in vae.named_parameters():
                if name.endswith("gamma"):
                    parameter.uniform_(0.5, 1.5)
        save_vae(vae, tmp_path / "vae")
        return vae, str(tmp_path / "vae")

    return build


def clip(shape, frames=13):
    side = 2 * shape.spatial_stride
    return torch.rand(1, 3, frames, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    ("shape", "latent_channels"), [(SHAPE21, None), (SHAPE21, 5), (SHAPE22, None)]
)
def test_a_wider_vae_computes_the_same_and_all_its_new_weights_learn(
    shape, latent_channels, trained
):
    narrow, ref = trained(shape)
    source = VAESource(ref, width=9, latent_channels=latent_channels)
    wide, has_statistics = start_vae(variant_of(shape), source, 0)
    assert has_statistics == (latent_channels is None)
    assert (wide.shape.dim, wide.shape.z_dim) == (9, latent_channels or 3)
    video = clip(shape)
    with torch.no_grad():
        latents, expected = wide.encode(video), narrow.encode(video)
        torch.testing.assert_close(latents[:, :3], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(wide.decode(latents), narrow.decode(expected),
                                   rtol=0, atol=1e-5)  # fmt: skip
    optimizer = torch.optim.SGD(wide.parameters(), lr=0.01)
    had_gradient = {name: torch.zeros_like(p) for name, p in wide.named_parameters()}
    for step in range(2 if latent_channels is None else 3):
        mean, logvar = wide.train().moments(video)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(step))
        sample = wide.normalise(mean + (logvar / 2).exp() * noise)
        loss = (wide.decode(sample, clamp=False) - video).abs().mean() + logvar.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, parameter in wide.named_parameters():
            had_gradient[name] += parameter.grad.abs()
    # Adding a constant to all keys of a query changes no attention: their bias has no gradient.
    unmoved = [n for n, g in had_gradient.items() if not g.all() and "to_qkv.bias" not in n]
    assert unmoved == []


def test_a_narrower_vae_has_the_leading_channels_and_measures_its_latents(trained, caplog):
    wide, ref = trained(SHAPE21)
    with caplog.at_level("INFO"):
        vae, has_statistics = start_vae(
            variant_of(SHAPE21), VAESource(ref, width=4, latent_channels=2), 0
        )
    assert not has_statistics
    assert "only a start" in caplog.text
    kernel, own = (v.decoder.middle[0].residual["2"].weight for v in (wide, vae))
    assert torch.equal(own, kernel[:16, :16])
    own = vae.conv1.weight.view(2, 2, 2, 2)
    assert torch.equal(own, wide.conv1.weight.view(2, 3, 2, 3)[:, :2, :, :2])
    with torch.no_grad():
        assert vae.decode(vae.encode(clip(SHAPE21))).shape == (1, 3, 13, 16, 16)


def test_an_image_vae_is_inflated_and_may_be_widened_at_once(trained, tmp_path):
    frozen, _ = trained(SHAPE21)
    image = {
        name: (tensor[:, :, -1] if tensor.ndim == 5 else tensor.flatten(2)).contiguous()
        if tensor.ndim > 3 and "resample" not in name and "middle.1" not in name
        else tensor
        for name, tensor in frozen.state_dict().items()
        if "time_conv" not in name
    }
    image = {n: t.view(-1, 1, 1) if n.endswith("gamma") else t for n, t in image.items()}
    save_file(image, tmp_path / "image_vae.safetensors")
    source = VAESource(str(tmp_path / "image_vae.safetensors"))
    vae, has_statistics = start_vae(variant_of(SHAPE21), source, 0)
    wide, _ = start_vae(variant_of(SHAPE21), replace(source, width=8), 0)
    assert not has_statistics
    picture, still = clip(SHAPE21, 1), clip(SHAPE21, 1).expand(-1, -1, 9, -1, -1)
    with torch.no_grad():
        expected = frozen.moments(picture)[0]
        for each in (vae, wide):
            torch.testing.assert_close(each.moments(picture)[0], expected, rtol=0, atol=1e-5)
            frames = each.moments(still)[0]
            torch.testing.assert_close(frames, expected.expand_as(frames), rtol=0, atol=1e-5)


def test_what_cannot_be_started_from_is_one_line(trained, tmp_path):
    _, ref = trained(SHAPE21)
    tiny = get_variant("tiny")
    with pytest.raises(VAEStartError, match=r"num_res_blocks 1; that of .* tiny has num_res_"):
        start_vae(tiny, VAESource(ref, width=8), 0)
    with pytest.raises(VAEStartError, match=r"residual False, patch 1, .*residual True, patch 2"):
        start_vae(variant_of(WAN22_VAE), VAESource(ref, width=8), 0)
    with pytest.raises(WeightsError, match="nowhere"):
        start_vae(tiny, VAESource(str(tmp_path / "nowhere")), 0)


def test_random_weights_start_with_a_small_posterior_deviation():
    vae, has_statistics = start_vae(variant_of(SHAPE21), VAESource(), 0)
    assert not has_statistics
    assert vae.log_variance_bias.tolist() == [START_LOG_VARIANCE] * 3
    again, _ = start_vae(variant_of(SHAPE21), VAESource(), 0)
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), again.parameters(), strict=True))
