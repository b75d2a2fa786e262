"""Whole samples of small random models, as DiffSynth-Studio's pipeline computes them in fp32.

Run by `make parity`. Both sides get the same weights, noise, prompts and pictures; the latents are
compared before they are decoded, since the VAE has comparisons of its own.

They differ on purpose in these places, which the cases leave out:

- The start image of Fun Control 2.1: DiffSynth takes the latents of a video with grey frames after
  it, this program zeros, as the code that the models were trained with does (VideoX-Fun).
- The start image of Fun Control 2.2: DiffSynth drops it, since that model has no CLIP; here it is
  read, as by the code that the model was trained with.
- Left, right, up and down of a camera: DiffSynth writes them into the rotation (entries 9 and 13 of
  a pose); only in and out are translations there.
- Animate without a background: DiffSynth encodes the character and the grey frames as one video,
  this program each on its own, as the official code does. With a background both do; the channels
  are then bf16 in DiffSynth, and here in this comparison alone.
"""

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from wanctl.camera.options import CameraOptions
from wanctl.diffusion.generate import Denoising
from wanctl.diffusion.schedules import levels_schedule
from wanctl.encoders.task_inputs import InputEncoders
from wanctl.model.dit.networks import make_dit
from wanctl.model.noise_levels import shift_sigmas
from wanctl.model.shapes import PixelShape
from wanctl.model.vae.autoencoder import WanVAE
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import FaceShape, VAEShape
from wanctl.tasks.clips.api import ClipTask
from wanctl.tasks.inputs import ClipOptions, Inputs, SourceVideo
from wanctl.tasks.table import TASKS

pytestmark = pytest.mark.parity

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-parity" / "bin" / "python"
SIZE = PixelShape(9, 64, 96)
TEXT_DIM, TEXT_LEN, TOKENS = 64, 512, 7
SPEED = 1 / 54  # of a camera, per frame
FACE = ("pose_patch_embedding.", "motion_encoder.", "face_adapter.", "face_encoder.")
FACE_SIDE = 16
NAMES = {
    "video": "control_video", "image": "input_image", "references": "reference_image",
    "pose_video": "animate_pose_video", "face_video": "animate_face_video",
    "mask": "animate_mask_video",
}  # fmt: skip
ANIMATE_2 = {"image": "animate2_reference_image", "video": "animate2_reference_video"}


@dataclass(frozen=True)
class Case:
    """A model and what it is given.

    Attributes:
        variant: row of VARIANTS, made small.
        task: row of TASKS.
        inputs: names of the pictures and videos.
        guide_scale: of the prompt.
        boundary: share of the noise levels above which the first of two experts runs.
        shift: of the noise levels.
        layers: of the transformer.
        log_scale: of the attention to the first frame (Animate 2).
    """

    variant: str
    task: str
    inputs: tuple[str, ...] = ()
    guide_scale: float = 6.0
    boundary: float | None = None
    shift: float = 5.0
    steps: int = 4
    layers: int = 2
    log_scale: float = 0.0


CASES = {
    "fun-control-2.1": Case(
        "wan2.1-fun-v1.1-1.3b-control", "control", ("video", "references"), shift=3.0
    ),
    "fun-control-2.1-v1": Case("wan2.1-fun-1.3b-control", "control", ("video",)),
    "fun-camera-2.1": Case(
        "wan2.1-fun-v1.1-1.3b-control-camera", "camera", ("image", "camera"), shift=3.0
    ),
    "fun-inp-2.1": Case("wan2.1-fun-1.3b-inp", "i2v", ("image",)),
    "fun-control-2.2": Case(
        "wan2.2-fun-a14b-control", "control", ("video", "references"), boundary=0.9
    ),
    "fun-camera-2.2": Case(
        "wan2.2-fun-a14b-control-camera", "camera", ("image", "camera"), boundary=0.9
    ),
    "animate": Case(
        "wan2.2-animate-14b",
        "animate",
        ("image", "pose_video", "face_video", "video", "mask"),
        guide_scale=3.0,
    ),
    "animate-2": Case(
        "wan2.2-animate-2-14b",
        "animate2",
        ("image", "video"),
        guide_scale=3.0,
        layers=11,
        log_scale=-1.3,
    ),
    "krea": Case("wan2.1-t2v-14b", "t2v", guide_scale=1.0, shift=20.0, steps=6),
}


class Encoders(InputEncoders):
    """With given hidden states in place of CLIP."""

    def __init__(self, vae, dit, hidden):
        super().__init__(vae, dit, None, torch.device("cpu"))
        self.hidden = hidden

    def images(self, pictures):
        return self.hidden.expand(len(pictures), -1, -1)


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    made = WanVAE(VAEShape(dim=8)).eval()
    for parameter in made.parameters():  # latents of about the deviation of real ones
        torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return made


def random_dit(shape, seed):
    torch.manual_seed(seed)
    dit = make_dit(shape, "reference").eval()
    for name, parameter in dit.named_parameters():
        # weights of the motion encoder are scaled where they are used
        wide = name.startswith("motion_encoder") and not name.endswith("bias")
        torch.nn.init.normal_(parameter, std=1.0 if wide else 0.05)
    return dit


def networks_there(dit, name):
    """Arguments and weights of each of DiffSynth's networks that make up a transformer."""
    shape, state = dit.shape, dit.state_dict()
    if shape.driven:
        sizes = {
            "class": "WanAnimate2Transformer", "dim": shape.dim, "ffn_dim": shape.ffn_dim,
            "text_len": shape.text_len, "text_dim": shape.text_dim, "freq_dim": shape.freq_dim,
            "in_dim": shape.in_channels, "num_heads": shape.num_heads,
            "num_layers": shape.num_layers,
        }  # fmt: skip
        return {name: (sizes, state)}
    found = {name: (sizes_there(shape), {k: t for k, t in state.items() if not k.startswith(FACE)})}
    if shape.face:
        sizes = {
            "class": "WanAnimateAdapter", "dim": shape.dim, "heads": shape.num_heads,
            "layers": shape.num_layers, "side": shape.face.side,
        }  # fmt: skip
        face = {k: t for k, t in state.items() if k.startswith(FACE)}
        found["animate_adapter"] = sizes, face
    return found


def sizes_there(shape):
    """Arguments of DiffSynth's class."""
    return {
        "class": "WanModel", "dim": shape.dim, "in_dim": shape.in_channels,
        "ffn_dim": shape.ffn_dim, "out_dim": shape.out_channels, "text_dim": shape.text_dim,
        "freq_dim": shape.freq_dim,
        "eps": shape.eps, "patch_size": (1, 2, 2), "num_heads": shape.num_heads,
        "num_layers": shape.num_layers, "has_image_input": shape.image_dim is not None,
        "has_ref_conv": bool(shape.reference_channels),
        "add_control_adapter": bool(shape.camera_channels),
        "require_clip_embedding": shape.image_dim is not None,
        "require_vae_embedding": shape.in_channels > shape.out_channels,
    }  # fmt: skip


def pose_file(path):
    """A camera that moves into the picture, as DiffSynth writes `In`."""
    lens = "0.532139961 0.946026558 0.5 0.5 0 0"
    lines = [f"0 {lens} 1 0 0 0 0 1 0 0 0 0 1 {-SPEED * n:.10f}" for n in range(SIZE.frames)]
    path.write_text("\n".join(["https://example.org", *lines]) + "\n")
    return str(path)


def pictures_of(case, tmp_path):
    """The inputs here and there, by name."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (SIZE.frames, FACE_SIDE, FACE_SIDE, 3), np.uint8)
    coarse = rng.integers(0, 256, (SIZE.frames + 2, SIZE.height // 8, SIZE.width // 8, 3), np.uint8)
    pictures = coarse.repeat(8, 1).repeat(8, 2)
    video, image, reference = pictures[:-2], pictures[-2], pictures[-1]
    as_tensor = {n: torch.from_numpy(p / 127.5 - 1).float().permute(2, 0, 1) for n, p in
                 (("image", image), ("references", reference))}  # fmt: skip
    starts = np.arange(SIZE.frames) / 16.0
    other = {
        "pose_video": video[::-1],
        "face_video": small,
        "mask": np.where(video[..., :1] > 127, 255, 0).astype(np.uint8).repeat(3, axis=-1),
    }

    def footage(frames):
        return SourceVideo(list(frames), starts, starts + 1 / 16, "a.mp4", frames.shape[1:3])

    ours = {name: footage(frames) for name, frames in other.items()} | {
        "video": footage(video),
        "image": as_tensor["image"],
        "references": (as_tensor["references"],),
        "camera": CameraOptions(file=pose_file(tmp_path / "poses.txt")),
    }
    names = NAMES | ANIMATE_2 if case.task == "animate2" else NAMES
    names = names | {"video": "animate_inpaint_video"} if case.task == "animate" else names
    theirs = {
        names[name]: frames
        for name, frames in (
            *other.items(), ("video", video), ("image", image), ("references", reference)
        )
        if name in case.inputs
    }  # fmt: skip
    return (
        {name: ours[name] for name in case.inputs},
        {name: torch.from_numpy(frames.copy()) for name, frames in theirs.items()},
    )


@torch.no_grad()
def sample_here(case, dits, vae, tensors, inputs):
    encode = Encoders(vae, dits[0].shape, tensors.get("clip"))
    task = TASKS[case.task]
    clips = ClipOptions(SIZE.frames) if isinstance(task, ClipTask) else None
    given = Inputs(fps=16.0, exact=True, clips=clips, **inputs)
    texts = [tensors["prompt"][0, :TOKENS]]
    conditions = task.conditions(texts, TEXT_LEN, given, SIZE, encode)
    if case.task == "animate":
        conditions = replace(conditions, channels=conditions.channels.bfloat16().float())
    if case.task == "animate2":
        conditions = conditions.with_driving_context(tensors["driving"])
        conditions = replace(conditions, first_frame_log_scale=case.log_scale)
    sigmas = shift_sigmas(np.linspace(1, 0, case.steps + 1)[:-1], case.shift).tolist()
    denoising = Denoising(
        noise=tensors["noise"], conditions=conditions, negative_context=tensors["negative"],
        guide_scale=case.guide_scale, schedule=levels_schedule(sigmas), solver="euler",
    )  # fmt: skip
    for dit in dits[:-1]:
        stop = sum(sigma >= case.boundary for sigma in sigmas)
        assert 0 < stop < len(sigmas)
        denoising.run_until(dit, stop)
    return task.output_latents(denoising.run_until(dits[-1]), given)


@pytest.mark.parametrize("name", CASES)
def test_the_sample_is_that_of_diffsynth(name, vae, tmp_path):
    case = CASES[name]
    shape = replace(
        VARIANTS[case.variant].dit, dim=256, ffn_dim=512, num_layers=case.layers, num_heads=2,
        text_dim=TEXT_DIM, text_len=TEXT_LEN,
    )  # fmt: skip
    shape = replace(shape, face=shape.face and FaceShape(channels=(512, 512, 512)))
    dits = [random_dit(shape, seed) for seed in range(1 + bool(case.boundary))]
    inputs, pictures = pictures_of(case, tmp_path)
    torch.manual_seed(3)
    tensors = {key: torch.zeros(1, TEXT_LEN, TEXT_DIM) for key in ("prompt", "negative", "driving")}
    for text in tensors.values():
        text[:, :TOKENS] = torch.randn(1, TOKENS, TEXT_DIM)
    first = isinstance(TASKS[case.task], ClipTask)  # a latent frame of the character
    tensors["noise"] = torch.randn(1, 16, 3 + first, SIZE.height // 8, SIZE.width // 8)
    if shape.image_dim:
        tensors["clip"] = torch.randn(1, 257, shape.image_dim)
    save_file({**tensors, **pictures}, tmp_path / "inputs.safetensors")
    models = {"vae": {"dim": vae.shape.dim}}
    save_file(vae.state_dict(), tmp_path / "weights-vae.safetensors")
    for dit, key in zip(dits, ("dit", "dit2"), strict=False):
        for name_there, (sizes, state) in networks_there(dit, key).items():
            models[name_there] = sizes
            save_file(state, tmp_path / f"weights-{name_there}.safetensors")
    call = {
        "num_frames": SIZE.frames, "height": SIZE.height, "width": SIZE.width,
        "num_inference_steps": case.steps, "sigma_shift": case.shift,
        "cfg_scale": case.guide_scale, "switch_DiT_boundary": case.boundary or 0.875,
    }  # fmt: skip
    if case.task == "animate":
        call["num_frames"] += 4  # those of the character's latent frame
    if case.task == "animate2":
        call |= {"animate2_prompt_ref": "driving", "animate2_log_scale": case.log_scale}
    if "camera" in case.inputs:
        call |= {"camera_control_direction": "In", "camera_control_speed": SPEED}
    (tmp_path / "job.json").write_text(json.dumps({"models": models, "call": call}))

    subprocess.run([PYTHON, HERE / "pipelines.py", tmp_path], check=True, timeout=300)
    theirs = load_file(tmp_path / "latents.safetensors")["latents"]
    ours = sample_here(case, dits, vae, tensors, inputs)
    assert theirs.std() > 0.1
    difference = (ours - theirs).abs().max().item()
    print(f"{name}: greatest difference {difference:.1e}, deviation {theirs.std().item():.2f}")
    assert difference < 1e-4
