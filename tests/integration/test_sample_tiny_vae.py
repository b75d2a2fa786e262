"""`wanctl sample` through files in TAEHV's layout instead of the VAE."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.integration.test_sample import PROMPT, VAE_22, recipe, save_pipeline
from wanctl.checkpoint.tiny_decoder import load_tiny_vae
from wanctl.cli.main import main
from wanctl.errors import UserError
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape
from wanctl.model.vae.tiny_encoder import TinyEncoder, TinyEncoderShape
from wanctl.sample import pipeline
from wanctl.sample.denoise import previews
from wanctl.sample.run import sample
from wanctl.tasks.pixels import to_frames
from wanctl.video.encode import read_metadata, write_video

SIZES = ("sample.height=64", "sample.width=96", "sample.frames=9", "sample.steps=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a small model of the 5B kind and files of tiny networks for its latents."""
    folder = tmp_path_factory.mktemp("world")
    save_pipeline(folder / "model", VAE_22)
    torch.manual_seed(0)
    encoder = TinyEncoder(TinyEncoderShape(z_dim=4, patch=2, width=8)).state_dict()
    decoder = TinyDecoder(TinyDecoderShape(z_dim=4, patch=2, widths=(16, 8, 4, 4))).state_dict()
    torch.save(encoder | decoder, folder / "taew2_2.pth")
    save_file(decoder, folder / "decoder.safetensors")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "start.png")
    return folder


def sampled(world, out, *overrides):
    loaded = recipe(world / "model", *SIZES, *overrides, name="wan2.2-ti2v-5b")
    [path] = sample(loaded, PROMPT, out)
    return path


def test_the_tiny_decoder_makes_the_frames_and_the_vae_is_not_used(world, tmp_path, monkeypatch):
    whole = sampled(world, tmp_path)
    monkeypatch.setattr(WanVAE, "__init__", None)
    frames = []

    def kept(path, iterator, *rest, **keys):
        frames[:] = iterator
        write_video(path, frames, *rest, **keys)

    monkeypatch.setattr(pipeline, "write_video", kept)
    paths = [
        sampled(world, tmp_path, f"model.vae_weights={world / name}")
        for name in ("decoder.safetensors", "taew2_2.pth")
    ]
    assert len({whole, *paths}) == 3, "other weights, another name"
    latents = [load_file(path.with_suffix(".safetensors"))["latents"] for path in (whole, *paths)]
    assert torch.equal(latents[0], latents[1]), "text to video needs no encoder"
    with torch.inference_mode():
        video = load_tiny_vae([world / "taew2_2.pth"]).decode(latents[0])[0]
    assert np.array_equal(np.stack(frames), to_frames(video))
    assert read_metadata(paths[1])["vae_weights"].count("taew2_2.pth")


def test_its_encoder_reads_the_picture_or_the_task_is_refused(world, tmp_path, monkeypatch):
    image = (f"sample.image={world / 'start.png'}", "sample.task=ti2v", "sample.fit=exact")
    with pytest.raises(UserError, match="tiny VAE has no encoder, and this task encodes"):
        sampled(world, tmp_path, f"model.vae_weights={world / 'decoder.safetensors'}", *image)
    monkeypatch.setattr(WanVAE, "__init__", None)
    path = sampled(world, tmp_path, f"model.vae_weights={world / 'taew2_2.pth'}", *image)
    latents = load_file(path.with_suffix(".safetensors"))["latents"]
    pixels = torch.from_numpy(np.array(Image.open(world / "start.png"))).permute(2, 0, 1)
    with torch.inference_mode():
        encoded = load_tiny_vae([world / "taew2_2.pth"]).encode(pixels[None, :, None] / 127.5 - 1)
    torch.testing.assert_close(latents[:, :, :1], encoded, atol=1e-4, rtol=0)


def test_a_known_name_is_looked_for_where_the_command_runs(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(world)
    assert sampled(world, tmp_path, "model.vae_weights=taew2_2").is_file()
    monkeypatch.chdir(tmp_path)
    for name, says in {
        "taew2_2": "take taew2_2.safetensors from https://github.com/madebyollin/taehv",
        "lightvaew2_1": "`hf download lightx2v/Autoencoders lightvaew2_1.safetensors`",
    }.items():
        with pytest.raises(UserError, match=rf"no {name}\.safetensors or \.pth in .*{says}"):
            sampled(world, tmp_path, f"model.vae_weights={name}")


def test_tiles_are_refused(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = [f"model.weights={world / 'model'}", f"model.vae_weights={world / 'taew2_2.pth'}",
                "model.vae_tile=448", "device=cpu", *SIZES]  # fmt: skip
    arguments = ["sample", PROMPT, "--recipe", "wan2.2-ti2v-5b"]
    for each in settings:
        arguments += ["--set", each]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "model.vae_tile: a tiny VAE takes little memory" in capsys.readouterr().err


def test_previews_show_the_predicted_video_until_the_output_is_there(
    world, tmp_path, monkeypatch, caplog
):
    seen = []

    def kept(path, frames, fps, **keys):
        frames = list(frames)
        write_video(path, frames, fps, **keys)
        seen.append((path, np.stack(frames), read_metadata(path)))

    monkeypatch.setattr(previews, "write_video", kept)
    plain = sampled(world, tmp_path / "plain", "sample.steps=6")
    settings = ("sample.steps=6", "sample.preview_every=2",
                f"sample.preview_decoder={world / 'taew2_2.pth'}")  # fmt: skip
    with caplog.at_level(logging.INFO):
        path = sampled(world, tmp_path / "shown", *settings)
    assert path.name == plain.name, "the output does not depend on previews"
    latents = [load_file(p.with_suffix(".safetensors"))["latents"] for p in (plain, path)]
    assert torch.equal(*latents)
    assert [about["preview_step"] for _, _, about in seen] == ["2 of 6", "4 of 6"]
    assert {where for where, _, _ in seen} == {path.with_name(f"{path.stem}.preview.mp4")}
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".mp4", ".safetensors"]
    lines = [record.message for record in caplog.records if "preview of step" in record.message]
    assert len(lines) == 1
    # each prediction is nearer to the end
    with torch.inference_mode():
        end = to_frames(load_tiny_vae([world / "taew2_2.pth"]).decode(latents[1])[0]).astype(float)
    first, second = (np.abs(frames - end).mean() for _, frames, _ in seen)
    assert second < first
    with pytest.raises(UserError, match=r"sample\.preview_decoder: .* holds no tiny decoder"):
        sampled(world, tmp_path, "sample.seed=4", f"sample.preview_decoder={world / 'model'}")
    save_file(TinyDecoder(TinyDecoderShape(z_dim=4, widths=(16, 8, 4, 4))).state_dict(),
              tmp_path / "other.safetensors")  # fmt: skip
    other = f"sample.preview_decoder={tmp_path / 'other.safetensors'}"
    with pytest.raises(UserError, match="4 frames and 8 pixels per latent; the VAE has 4, 4 and"):
        sampled(world, tmp_path, "sample.seed=4", other)
