"""Training on a world that is damaged: name -> what is done to it, arguments, part of the line.

Every case starts from a data set and runs of two steps of both trainers, and asks for more steps.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

RECIPE = """
dataset: {path: dataset}
curate: {decode: {workers: 1}}
model: {variant: tiny, vae_weights: vae_weights}
train_vae:
  steps: 2
  clip_fps: 8
  buckets: [{frames: 5, height: 32, width: 32}]
  checkpoint_every: 1
  trackers: []
  loss: {perceptual: 0, adversarial: {weight: 0.5, width: 8, layers: 1}}
train_dit:
  steps: 2
  clip_fps: 8
  buckets: [{frames: 5, height: 32, width: 32}]
  checkpoint_every: 1
  preview_steps: 1
  trackers: []
"""
VAE, DIT = Path("runs/small/vae"), Path("runs/small/dit")
NEWEST = "checkpoints/step-000002"
Case = tuple[Callable[[], object] | None, list[str], str]


def _vae(*settings: str) -> list[str]:
    return _command("train-vae", "train_vae.steps=4", *settings)


def _dit(*settings: str) -> list[str]:
    return _command("train-dit", "train_dit.steps=4", *settings)


def _command(name: str, *settings: str) -> list[str]:
    return [name, "--recipe", "small.yaml", *(p for each in settings for p in ("--set", each))]


def damage(path: Path) -> None:
    """Flip bits in the middle of a file; its old content stays in files linked to it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    replace(path, bytes(data))


def replace(path: Path, data: bytes) -> None:
    """Write a file anew: the worlds of all cases share the files that they do not change."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _only(folder: str, pattern: str) -> Path:
    (found,) = Path(folder).rglob(pattern)
    return found


def _poison(folder: Path) -> None:
    """NaN in the first tensor of the weights in a folder."""
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    first = min(tensors)
    tensors[first] = torch.full_like(tensors[first], float("nan"))
    path.unlink()
    save_file(tensors, path)


def _edit_table(table: str, edit: Callable[[list[dict]], list[dict]]) -> None:
    path = next(Path("dataset").glob(f"{table}*"))
    path = path if path.is_file() else next(path.rglob("*.parquet"))
    stored = pq.read_table(path)
    rows = edit(stored.to_pylist())
    path.unlink()
    pq.write_table(type(stored).from_pylist(rows, stored.schema), path)


def _clips_lost() -> None:
    """Neither the footage nor what was exported of it is there."""
    for path in (*Path().glob("*.mp4"), *Path("dataset/training").rglob("*.mp4")):
        path.unlink()


def _edit_manifest(**changes: object) -> None:
    path = DIT / NEWEST / "manifest.json"
    replace(path, json.dumps(json.loads(path.read_text()) | changes).encode())


DATA: dict[str, Case] = {
    "no data set": (lambda: shutil.rmtree("dataset"), _dit(), "dataset: no data set there"),
    "no clips table": (
        lambda: shutil.rmtree("dataset/clips"), _dit(), "dataset",
    ),
    "no selection": (None, _dit("dataset.selection=best"), "no selection named 'best'"),
    "nothing kept": (
        lambda: _edit_table("selections/", lambda rows: [r | {"kept": False} for r in rows]),
        _dit(), "keeps none of 4 clips",
    ),
    "no captions": (
        lambda: shutil.rmtree("dataset/captions"), _dit(),
        "none of 4 clips has a caption; run `wanctl caption --recipe small.yaml`",
    ),
    "captions of another backend": (
        None, _dit("caption.backends=[camera]"), "none of 4 clips has a caption",
    ),
    "clips shorter than the bucket": (
        None, _vae("train_vae.buckets=[{frames: 49, height: 32, width: 32}]"),
        "none of the 4 clips serves a bucket",
    ),
    "clips smaller than the bucket": (
        None, _dit("train_dit.buckets=[{frames: 5, height: 480, width: 832}]"),
        "none of the 4 clips serves a bucket",
    ),
    "clips are gone": (_clips_lost, _dit(), "no clip could be exported"),
    "a selection that is no table": (
        lambda: replace(Path("dataset/selections/default.parquet"), b"PAR1"), _dit(),
        "selections/default",
    ),
    "a damaged latent": (
        lambda: damage(_only("dataset/latents", "*.safetensors")), _dit(),
        "damaged and deleted; run the same command again",
    ),
    "a damaged text embedding": (
        lambda: damage(_only("dataset/text", "*.safetensors")), _dit(),
        "damaged and deleted; run the same command again",
    ),
}  # fmt: skip
START: dict[str, Case] = {
    "a VAE with NaN": (lambda: _poison(VAE), _dit(), "NaN or infinity"),
    "no VAE": (
        lambda: [shutil.rmtree(VAE), shutil.rmtree("vae_weights")], _dit(), "vae_weights",
    ),
    "a transformer as VAE": (None, _vae(f"model.vae_weights={DIT}"), "holds no VAE"),
    "weights of another size": (
        None, _dit(f"model.weights={DIT}", "model.latent_channels=4"), "latent channels",
    ),
    "a VAE as the transformer's text encoder": (
        None, _dit("model.text_weights=vae_weights"), "vae_weights holds no text encoder",
    ),
    "no tiny decoder": (
        None, _dit("train_dit.preview_decoder=tiny_decoder"), "holds no tiny decoder",
    ),
    "another VAE than before": (
        lambda: [shutil.rmtree(VAE), shutil.copytree("other_vae", VAE)], _dit(),
        "was trained with VAE",
    ),
}  # fmt: skip
RESUME: dict[str, Case] = {
    "a VAE of another width": (
        lambda: shutil.rmtree("vae_weights"), _vae("model.vae_weights=other_vae"), "VAE width",
    ),
    "other parts": (None, _vae("train_vae.trained=decoder"), "was trained with trained parts"),
    "another optimizer": (
        None, _dit("train_dit.optimizer.name=muon"), "had adamw",
    ),
    "no discriminator before": (
        lambda: shutil.copytree("without/vae", VAE, dirs_exist_ok=True), _vae(),
        "holds no discriminator, this run trains one",
    ),
    "a checkpoint of a later format": (
        lambda: _edit_manifest(format=99), _dit(), "format 99",
    ),
    "all checkpoints damaged": (
        lambda: [damage(p) for p in DIT.rglob("checkpoints/*/model.safetensors")], _dit(), "damaged",
    ),
}  # fmt: skip
