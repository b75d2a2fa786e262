"""S2V as DiffSynth-Studio computes it in fp32, on small random weights; run by `make parity`."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wanctl.model.dit.networks import make_dit
from wanctl.model.variants import DIT_14B, SpeechShape

pytestmark = pytest.mark.parity

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-parity" / "bin" / "python"
TEXT_DIM = 64
LATENTS, ROWS, COLUMNS = 3, 8, 16
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


def run_there(folder, dit, inputs):
    """What DiffSynth computes."""
    state = dit.state_dict()
    sizes = {
        "dim": SHAPE.dim, "in_dim": 16, "ffn_dim": SHAPE.ffn_dim, "out_dim": 16,
        "text_dim": TEXT_DIM, "freq_dim": 256, "eps": 1e-6, "patch_size": (1, 2, 2),
        "num_heads": SHAPE.num_heads, "num_layers": SHAPE.num_layers, "cond_dim": 16,
        "audio_dim": SPEECH.width, "num_audio_token": SPEECH.tokens,
        "audio_inject_layers": SPEECH.blocks,
    }  # fmt: skip
    save_file(state, folder / "weights-dit.safetensors")
    save_file(inputs, folder / "inputs.safetensors")
    (folder / "job.json").write_text(json.dumps({"models": {"dit": sizes}}))
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
    theirs = run_there(tmp_path, dit, inputs)
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
