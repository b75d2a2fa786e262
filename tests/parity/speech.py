"""Runs DiffSynth-Studio's S2V on given weights and inputs; the other side of `test_speech.py`.

Runs in `.venv-parity`, never in `.venv`:

    python speech.py FOLDER

FOLDER is as `pipelines.py` takes it; results go to `results.safetensors`. By its `job`, it is

- `call`: one call of the transformer with `x`, `timestep`, `context`, `states`, `before`, `pose`;
  results are `first` (without the frames before) and `later`;
- `clips`: a whole sample of `noise0`, `states0`, `pose0` and so on for each clip, and `picture`;
  results are `latents0` and `video0` (in [-1, 1]) and so on;
- `hear`: wav2vec2 in the folder `audio` on `sound`; the result is `features`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffsynth.models.wan_video_dit_s2v import WanS2VModel
from diffsynth.models.wav2vec import WanS2VAudioEncoder
from diffsynth.pipelines.wan_video import (
    WanVideoPipeline,
    WanVideoUnit_PromptEmbedder,
    model_fn_wans2v,
)
from PIL import Image
from pipelines import GivenTexts, make_vae
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

MOTION_FRAMES, DROPPED = 73, 3

Tensors = dict[str, torch.Tensor]


def make_dit(folder: Path, sizes: dict[str, object]) -> WanS2VModel:
    dit = WanS2VModel(**sizes).eval().requires_grad_(False)
    dit.load_state_dict(load_file(folder / "weights-dit.safetensors"))
    return dit


def call(dit: WanS2VModel, given: Tensors) -> Tensors:
    def velocity(*, first: bool) -> torch.Tensor:
        return model_fn_wans2v(
            dit, given["x"], given["timestep"], given["context"], given["states"],
            given["before"], given["pose"], drop_motion_frames=first,
        )[:, :, 1:]  # fmt: skip

    return {"first": velocity(first=True), "later": velocity(first=False)}


def clips(folder: Path, job: dict, dit: WanS2VModel, given: Tensors) -> Tensors:
    """Clip after clip, as the package's example of speech to video passes frames on."""
    pipe = WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    pipe.units = [
        GivenTexts(given) if isinstance(unit, WanVideoUnit_PromptEmbedder) else unit
        for unit in pipe.units
    ]
    pipe.vae, pipe.dit = make_vae(folder, job["models"]["vae"]), dit
    pipe.audio_encoder = pipe.audio_processor = torch.nn.Identity()
    height, width = job["call"]["height"], job["call"]["width"]
    before, found = torch.zeros(1, 3, MOTION_FRAMES, height, width), {}
    for number in range(job["clips"]):
        noise = given[f"noise{number}"]
        # the slot of the picture comes first
        pipe.generate_noise = lambda *_, n=noise, **__: torch.cat((n[:, :, :1], n), dim=2)
        poses = [Image.fromarray(each) for each in given[f"pose{number}"].numpy()]
        latents = pipe(
            prompt="prompt", negative_prompt="negative", tiled=False, output_type="floatpoint",
            progress_bar_cmd=iter, input_image=Image.fromarray(given["picture"].numpy()),
            audio_embeds=given[f"states{number}"], s2v_pose_video=poses,
            motion_video=before if number else None, num_frames=len(poses) + 1, **job["call"],
        )  # fmt: skip
        found[f"latents{number}"] = latents[:, :, -noise.shape[2] :]
        video = pipe.vae.vae.decode(latents, device="cpu", tiled=False)
        video = video[:, :, -len(poses) :][:, :, 0 if number else DROPPED :]
        before = torch.cat((before, video), dim=2)[:, :, -MOTION_FRAMES:]
        found[f"video{number}"] = video
    return found


def hear(folder: Path, given: Tensors) -> Tensors:
    encoder = WanS2VAudioEncoder.__new__(WanS2VAudioEncoder)
    torch.nn.Module.__init__(encoder)
    encoder.model = Wav2Vec2ForCTC.from_pretrained(folder / "audio").eval()
    encoder.video_rate = 30
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder / "audio")
    sound = given["sound"].numpy().astype(np.float32)
    states = encoder.extract_audio_feat(sound, 16_000, extractor, return_all_layers=True)
    bucket, count = encoder.get_audio_embed_bucket_fps(states, fps=16, batch_frames=80)
    return {"features": states, "bucket": bucket, "clips": torch.tensor(count)}


def run(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    given = load_file(folder / "inputs.safetensors")
    if job["job"] == "hear":
        found = hear(folder, given)
    else:
        dit = make_dit(folder, job["models"]["dit"])
        found = call(dit, given) if job["job"] == "call" else clips(folder, job, dit, given)
    save_file({k: v.contiguous() for k, v in found.items()}, folder / "results.safetensors")


if __name__ == "__main__":
    with torch.no_grad():
        run(Path(sys.argv[1]))
