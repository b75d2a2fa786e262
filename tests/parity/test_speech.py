"""S2V as DiffSynth-Studio computes it in fp32, on small random weights; run by `make parity`.

They differ on purpose in two places, which the comparison leaves out:

- The sound of a frame: here that which is heard when the frame is shown. DiffSynth, like the
  official code, counts from the first frame made, three frames before the first one shown. Both
  sides get the hidden states that belong to the frames here.
- Poses of the frames that are not shown, by the same count.
"""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.integration.small_variants import write_small_audio_encoder
from tests.unit.sample.clips.clip_pipeline import ClipPipeline
from wanctl.diffusion.generate import generate
from wanctl.diffusion.schedules import levels_schedule
from wanctl.encoders.speech import load_audio_encoder
from wanctl.model.dit.networks import make_dit
from wanctl.model.noise_levels import shift_sigmas
from wanctl.model.shapes import PixelShape
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variants import DIT_14B, SpeechShape, VAEShape
from wanctl.sample.clips.loop import ClipLoop
from wanctl.tasks.clips.sound_features import features_at, official_clips, resampled
from wanctl.tasks.clips.speech import S2V
from wanctl.tasks.inputs import ClipOptions, Inputs, SourceSound, SourceVideo
from wanctl.tasks.pixels import to_float

pytestmark = pytest.mark.parity

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-parity" / "bin" / "python"
TEXT_DIM = 64
LATENTS, ROWS, COLUMNS = 3, 8, 16
STEPS, SHIFT, GUIDE = 3, 3.0, 4.5
NEW, FRAMES = 8, 12  # frames that a clip adds; 5 and 7 are shown
SPEECH = SpeechShape(layers=25, width=12, blocks=(0, 3))
SHAPE = replace(
    DIT_14B, dim=256, ffn_dim=512, num_layers=4, num_heads=2, text_dim=TEXT_DIM,
    speech=SPEECH,
)  # fmt: skip


@pytest.fixture(scope="module")
def dit():
    torch.manual_seed(0)
    made = make_dit(SHAPE, "reference").eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def run_there(folder, dit, inputs, **job):
    """What DiffSynth computes."""
    sizes = {
        "dim": SHAPE.dim, "in_dim": 16, "ffn_dim": SHAPE.ffn_dim, "out_dim": 16,
        "text_dim": TEXT_DIM, "freq_dim": 256, "eps": 1e-6, "patch_size": (1, 2, 2),
        "num_heads": SHAPE.num_heads, "num_layers": SHAPE.num_layers, "cond_dim": 16,
        "audio_dim": SPEECH.width, "num_audio_token": SPEECH.tokens,
        "audio_inject_layers": SPEECH.blocks,
    }  # fmt: skip
    if dit is not None:
        save_file(dit.state_dict(), folder / "weights-dit.safetensors")
    models = job.pop("models", {}) | {"dit": sizes}
    save_file(inputs, folder / "inputs.safetensors")
    (folder / "job.json").write_text(json.dumps({"models": models, **job}))
    subprocess.run([PYTHON, HERE / "speech.py", folder], check=True, timeout=300)
    return load_file(folder / "results.safetensors")


@torch.no_grad()
def test_the_transformer_is_that_of_diffsynth(dit, tmp_path):
    torch.manual_seed(1)
    inputs = {
        "x": torch.randn(1, 16, LATENTS + 1, ROWS, COLUMNS),  # the picture first
        "timestep": torch.tensor([700.0]),
        "context": torch.randn(1, 512, TEXT_DIM),
        "states": torch.randn(1, 25, 12, 4 * LATENTS),
        "before": torch.randn(1, 16, 19, ROWS, COLUMNS),
        "pose": torch.randn(1, 16, LATENTS, ROWS, COLUMNS),
    }
    theirs = run_there(tmp_path, dit, inputs, job="call")
    x = torch.cat((inputs["x"][:, :, 1:], inputs["x"][:, :, :1]), dim=2)
    timesteps = torch.tensor([[700.0] * LATENTS + [0.0]])
    for name, before in (("first", None), ("later", inputs["before"])):
        ours = dit(
            x, timesteps, inputs["context"], speech_BTJD=dit.read_speech(inputs["states"]),
            before_BCTYX=before, pose_BCTYX=inputs["pose"],
        )[:, :, :-1]  # fmt: skip
        difference = (ours - theirs[name]).abs().max().item()
        print(f"{name}: greatest difference {difference:.1e}, deviation {theirs[name].std():.2f}")
        assert theirs[name].std() > 0.1
        assert difference < 2e-5


def vae_of(seed):
    torch.manual_seed(seed)
    made = WanVAE(VAEShape(dim=8)).eval()
    for parameter in made.parameters():  # latents of about the deviation of real ones
        torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return made


class Pipeline(ClipPipeline):
    """The small networks of this test, and hidden states in place of wav2vec2."""

    def __init__(self, dit, vae, given, texts, states, noise):
        super().__init__(dit, vae, given, texts)
        self.states, self.noises, self.made = states, noise, []

    def sound(self, _):
        return self.states

    def denoise(self, request, conditions, texts, clip, label):
        sigmas = shift_sigmas(np.linspace(1, 0, STEPS + 1)[:-1], SHIFT).tolist()
        latents = generate(
            self._dit, noise=self.noises[clip], negative_context=self._texts["negative"],
            conditions=conditions.with_context(self._texts["prompt"]), guide_scale=GUIDE,
            schedule=levels_schedule(sigmas), solver="euler",
        )  # fmt: skip
        self.made.append(latents)
        return latents


@torch.no_grad()
def test_a_sample_of_two_clips_is_that_of_diffsynth(dit, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    size = PixelShape(FRAMES, 8 * ROWS, 8 * COLUMNS)
    small = rng.integers(0, 256, (FRAMES + 1, ROWS, COLUMNS, 3), np.uint8)
    *poses, picture = small.repeat(8, 1).repeat(8, 2)
    edges = np.arange(FRAMES + 1) / 16
    seconds = FRAMES / 16
    given = Inputs(
        image=to_float(picture), clips=ClipOptions(73 + NEW),
        audio=SourceSound(np.zeros(1), np.zeros((1, 2), np.int16), "a.wav", seconds),
        pose_video=SourceVideo(poses, edges[:-1], edges[1:], "poses.mp4", size[1:]), fps=16.0,
    )  # fmt: skip
    torch.manual_seed(3)
    states = torch.randn(SPEECH.layers, round(50 * seconds), SPEECH.width)
    texts = {key: torch.randn(1, 512, TEXT_DIM) for key in ("prompt", "negative")}
    noise = [torch.randn(1, 16, NEW // 4, ROWS, COLUMNS) for _ in range(2)]
    task, vae = S2V(), vae_of(1)
    numbers = task.clips(size, given)
    assert len(numbers) == 2

    inputs = {**texts, "picture": torch.from_numpy(picture.copy())}
    black = np.zeros_like(picture)
    for clip, frames in enumerate(numbers):
        inputs[f"noise{clip}"] = noise[clip]
        inputs[f"states{clip}"] = features_at(resampled(states), frames, 16.0)[None].contiguous()
        shown = [poses[max(0, n)] if n < FRAMES else black for n in frames]
        inputs[f"pose{clip}"] = torch.from_numpy(np.stack(shown))
    save_file(vae.state_dict(), tmp_path / "weights-vae.safetensors")
    theirs = run_there(
        tmp_path, dit, inputs, job="clips", clips=2, models={"vae": {"dim": vae.shape.dim}},
        call={
            "height": size.height, "width": size.width, "num_inference_steps": STEPS,
            "sigma_shift": SHIFT, "cfg_scale": GUIDE,
        },
    )  # fmt: skip

    pipeline = Pipeline(dit, vae, given, texts, states, noise)
    outputs = SimpleNamespace(path=lambda _: tmp_path / "a.mp4", header=lambda _: {})
    request = SimpleNamespace(
        task="s2v", size=size, frames=FRAMES, first_frame_log_scale=0.0, prompt="", seed=0
    )
    loop = ClipLoop(pipeline, outputs, request, {})
    shown = []
    monkeypatch.setattr(loop._seams, "add", shown.append)
    monkeypatch.setattr(loop, "_report", lambda: None)
    assert len(list(loop._frames())) == FRAMES
    for clip in range(2):
        for name, ours in (("latents", pipeline.made[clip]), ("video", shown[clip][None])):
            expected = theirs[f"{name}{clip}"][:, :, : ours.shape[2]]
            if name == "video":
                expected = expected.clamp(-1, 1)
            difference = (ours - expected).abs().max().item()
            print(f"{name} {clip}: greatest difference {difference:.1e}, "
                  f"deviation {expected.std():.2f}")  # fmt: skip
            assert expected.std() > 0.05
            assert difference < 1e-4


@torch.no_grad()
def test_sound_is_heard_as_by_diffsynth(tmp_path):
    folder = tmp_path / "audio"
    torch.manual_seed(0)
    write_small_audio_encoder(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": True, "feature_size": 1, "sampling_rate": 16_000,
                    "padding_value": 0.0, "padding_side": "right"})
    )  # fmt: skip
    sound = 0.2 * torch.randn(64_000) + 0.05
    theirs = run_there(tmp_path, None, {"sound": sound}, job="hear")
    ours = resampled(load_audio_encoder(folder)(sound.numpy()))
    assert theirs["features"].std() > 0.1
    assert (ours - theirs["features"]).abs().max() < 1e-4
    assert official_clips(len(sound), 80, 16.0) == int(theirs["clips"])
    taken = features_at(ours, range(80 * int(theirs["clips"])), 16.0)  # (S, E, F)
    assert (taken.permute(2, 0, 1) - theirs["bucket"]).abs().max() < 1e-4
