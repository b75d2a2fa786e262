"""Training on a world that is damaged: name -> what is done to it, arguments, part of the line.

Every case starts in a folder with a data set and runs of two steps of both trainers, and asks for
two more steps.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from wanctl.data.cache import LatentCache

RECIPE = """
dataset: {path: dataset}
curate: {decode: {workers: 1}}
model: {variant: tiny, vae_weights: vae_weights}
device: cpu
train_vae:
  steps: 2
  clip_fps: 8
  buckets: [{frames: 5, height: 32, width: 32}]
  checkpoint_every: 1
  keep_checkpoints: 9
  trackers: []
  loss: {perceptual: 0, adversarial: {weight: 0.5, width: 8, layers: 1}}
train_dit:
  steps: 2
  clip_fps: 8
  buckets: [{frames: 5, height: 32, width: 32}]
  checkpoint_every: 1
  keep_checkpoints: 9
  preview_steps: 1
  trackers: []
"""
VAE, DIT = Path("runs/small/vae"), Path("runs/small/dit")


class Case(NamedTuple):
    """One mistake.

    Attributes:
        arguments: of the command.
        line: part of the one line that says what is wrong.
        change: made in the folder before; takes pytest's monkeypatch where its argument says so.
    """

    arguments: list[str]
    line: str
    change: Callable[..., object] | None = None


def _command(name: str, *settings: str) -> list[str]:
    return [name, "--recipe", "small.yaml", *(p for each in settings for p in ("--set", each))]


def _vae(*settings: str) -> list[str]:
    return _command("train-vae", "train_vae.steps=4", *settings)


def _dit(*settings: str) -> list[str]:
    return _command("train-dit", "train_dit.steps=4", *settings)


def _lora(*settings: str) -> list[str]:
    return _dit("model.weights=runs/small/dit", "model.vae_weights=runs/small/vae", *settings)


def _new(*settings: str) -> list[str]:
    return [*_dit(*settings), "--out", "new"]


def write_anew(path: Path, data: bytes) -> None:
    """Write a file in the place of one that other cases see too."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def damage(*paths: Path) -> None:
    """Flip the second half of the bits of files."""
    for path in paths:
        data = path.read_bytes()
        half = len(data) // 2
        write_anew(path, data[:half] + bytes(each ^ 0xFF for each in data[half:]))


def remove(*paths: str | Path) -> None:
    """Remove files and folders."""
    for path in map(Path, paths):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _put_nan(path: Path) -> None:
    """NaN in the first tensor of a file."""
    tensors = load_file(path)
    first = min(tensors)
    tensors[first] = torch.full_like(tensors[first], float("nan"))
    path.unlink()
    save_file(tensors, path)


def _put_nan_into_cache(folder: str) -> None:
    """NaN in every tensor of a cache, with the checksums of these values."""
    (inner,) = Path(folder).iterdir()
    tensors = {k: v for path in inner.glob("*.safetensors") for k, v in load_file(path).items()}
    shutil.rmtree(inner)
    with LatentCache(Path(folder), inner.name) as cache:
        for key, tensor in tensors.items():
            cache.put(key, torch.full_like(tensor, float("nan")))


def _cut_exports() -> None:
    remove(*Path().glob("*.mp4"))
    for path in Path("dataset/training").rglob("*.mp4"):
        write_anew(path, path.read_bytes()[:900])


def _of_later_version() -> None:
    for path in DIT.rglob("checkpoints/*/manifest.json"):
        write_anew(path, json.dumps(json.loads(path.read_bytes()) | {"format": 99}).encode())


def _keep_no_clip() -> None:
    path = Path("dataset/selections/default.parquet")
    table = pq.read_table(path)
    rows = [row | {"kept": False} for row in table.to_pylist()]
    path.unlink()
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


def _fill_disk(monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wanctl.train.checkpoint.save_tensors", full)


def _run_out_of_memory(monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("wanctl.train.networks.step.OptimizerStep.run", fail)


def _uninstall(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)


DIVERGING = [f"train_dit.optimizer.{key}" for key in ("lr=10", "warmup_steps=0", "clip_norm=1e6")]
DATA = {
    "no data set": Case(
        _dit(), "dataset: no data set there", lambda: remove("dataset")
    ),
    "a table is missing": Case(
        _dit(), "are not in clips/: a part is missing", lambda: remove("dataset/clips")
    ),
    "no such selection": Case(
        _dit("dataset.selection=best"), "no selection named 'best'; `wanctl data select"
    ),
    "a selection that is no table": Case(
        _dit(), "selections/default.parquet: not readable",
        lambda: write_anew(Path("dataset/selections/default.parquet"), b"PAR1"),
    ),
    "nothing kept": Case(_dit(), "keeps none of 4 clips", _keep_no_clip),
    "no captions": Case(
        _dit(), "none of 4 clips has a caption; run `wanctl caption --recipe small.yaml`",
        lambda: remove("dataset/captions"),
    ),
    "clips shorter than the bucket": Case(
        _vae("train_vae.buckets=[{frames: 49, height: 32, width: 32}]"),
        "none of the 4 clips serves a bucket (reasons above)",
    ),
    "clips smaller than the bucket": Case(
        _dit("train_dit.buckets=[{frames: 5, height: 480, width: 832}]"),
        "none of the 4 clips serves a bucket (reasons above)",
    ),
    "footage and exports are gone": Case(
        _vae(), "dataset: no clip is left to train on",
        lambda: remove("dataset/training", *Path().glob("*.mp4")),
    ),
    "footage is gone and its exports are cut off": Case(
        _vae(), "dataset: no clip is left to train on", _cut_exports
    ),
    "damaged latents": Case(
        _dit(), "damaged and deleted; run the same command again",
        lambda: damage(*Path("dataset/latents").rglob("*.safetensors")),
    ),
    "damaged embeddings": Case(
        _dit(), "damaged and deleted; run the same command again",
        lambda: damage(*Path("dataset/text").rglob("*.safetensors")),
    ),
    "NaN in latents": Case(
        _dit(), "holds latents with NaN or infinity; delete this folder",
        lambda: _put_nan_into_cache("dataset/latents"),
    ),
    "NaN in embeddings": Case(
        _dit(), "holds embeddings with NaN or infinity; delete this folder",
        lambda: _put_nan_into_cache("dataset/text"),
    ),
}  # fmt: skip
START = {
    "NaN in the VAE": Case(
        _dit(), "holds NaN or infinity",
        lambda: _put_nan(VAE / "diffusion_pytorch_model.safetensors"),
    ),
    "NaN in the transformer": Case(
        _dit("model.weights=runs/small/dit"), "holds NaN or infinity",
        lambda: _put_nan(DIT / "diffusion_pytorch_model.safetensors"),
    ),
    "no VAE": Case(
        _dit("model.vae_weights=null"), "no VAE weights: looked in", lambda: remove(VAE)
    ),
    "VAE weights that are gone": Case(_dit(), "vae_weights", lambda: remove("vae_weights")),
    "a transformer as VAE": Case(_vae("model.vae_weights=runs/small/dit"), "dit holds no VAE"),
    "a VAE as text encoder": Case(
        _dit("model.text_weights=vae_weights"), "vae_weights holds no text encoder",
    ),
    "latents of another width": Case(
        _dit("model.latent_channels=4"), "latent_channels: got 4, the VAE makes 16",
    ),
    "no tiny decoder for previews": Case(
        _dit("train_dit.preview_decoder=tiny_decoder"), "holds no tiny decoder",
    ),
    "the discriminator's optimizer is not installed": Case(
        _vae("train_vae.loss.adversarial.optimizer.name=prodigy"),
        "adversarial.optimizer.name: prodigy needs prodigyopt, which is not installed", _uninstall,
    ),
    "the optimizer is not installed": Case(
        _dit("train_dit.optimizer.name=schedulefree", "train_dit.ema_decay=0"),
        "pip install schedulefree", _uninstall,
    ),
    "the tracker is not installed": Case(
        _dit("train_dit.trackers=[wandb]"), "wandb is not installed", _uninstall,
    ),
}  # fmt: skip
RESUME = {
    "another VAE than before": Case(
        _dit(), "was trained with VAE tiny@",
        lambda: [remove(VAE), shutil.copytree("other_vae", VAE)],
    ),
    "a VAE of another width": Case(
        _vae("model.vae_weights=other_vae"), "was trained with VAE width 8, this run has 4",
    ),
    "other parts than before": Case(
        _vae("train_vae.trained=decoder"), "trained with trained parts (default), this run has",
    ),
    "another optimizer than before": Case(
        _dit("train_dit.optimizer.name=muon"), "got muon, but the checkpoint's run had adamw",
    ),
    "no discriminator before": Case(
        _vae(), "holds no discriminator, this run trains one",
        lambda: [remove(VAE), shutil.copytree("without/vae", VAE)],
    ),
    "the discriminator's state is missing": Case(
        _vae(), "discriminator-model.safetensors is missing",
        lambda: [path.unlink() for path in VAE.rglob("discriminator-model.safetensors")],
    ),
    "every checkpoint is damaged": Case(
        _dit(), "step-000001 is damaged (model.safetensors has another checksum), and there",
        lambda: damage(*DIT.rglob("checkpoints/*/model.safetensors")),
    ),
    "every checkpoint is of a later version": Case(
        _dit(), "format 99, this version reads 1",
        _of_later_version,
    ),
}  # fmt: skip
DURING = {
    "the disk is full": Case(
        _dit(), "checkpoints/step-000003: cannot write: the disk is full; free", _fill_disk
    ),
    "the batch is larger than the memory": Case(
        _dit(), "out of memory (another 20.00 GiB were needed); set train_dit.memory.",
        _run_out_of_memory,
    ),
    "a file in the place of the run": Case(
        _dit(), "runs/small/dit", lambda: [remove("runs/small"), Path("runs/small").touch()]
    ),
    "a learning rate that diverges": Case(
        _dit(*DIVERGING, "train_dit.steps=40"), "not finite; lower optimizer.lr",
    ),
}  # fmt: skip
ADAPTER = {
    "an adapter on layers that there are not": Case(
        _lora("train_dit.adapter.targets=[blocks.*.norm]"),
        "adapter.targets.0.layers: got 'blocks.*.norm', which matches no linear layer; near are",
    ),
    "an adapter whose rank exceeds the layer's": Case(
        _lora("train_dit.adapter={rank: 4096, targets: [blocks.0.ffn.0]}"),
        "got 4096 for blocks.0.ffn.0, but blocks.0.ffn.0 is 768x192",
    ),
    "an adapter on nothing": Case(
        _dit("train_dit.adapter.rank=2", "model.weights=null"), "model.weights: got null, which",
    ),
    "an adapter on a VAE": Case(
        _dit("train_dit.adapter.rank=2", "model.weights=vae_weights"), "names no transformer",
    ),
    "an adapter of another rank than before": Case(
        [*_lora("train_dit.adapter.rank=4"), "--out", "lora"], "was trained with adapter lora on",
    ),
    "an adapter in the place of a whole model": Case(
        _lora("train_dit.adapter.rank=2"), "step-000002 was trained with adapter (default)",
    ),
    "parts that there are not": Case(
        _lora("train_dit.trained=[nothing.*]"), "got 'nothing.*', which matches no parameter",
    ),
}  # fmt: skip
SETTINGS = {
    "weights by a column that there is not": Case(
        _new("train_dit.weights={motoin: {high: 2}}"), "no filter or column named 'motoin'",
    ),
    "weights that leave nothing": Case(
        _new("train_dit.weights={source: {'*': 0}}"), "all clips have weight 0; change `weights`",
    ),
    "captions of nobody": Case(
        _dit("train_dit.captions={longer: 1}"), "no captioner or variant named 'longer'",
    ),
    "scores that no clip has": Case(
        _dit("train_dit.caption_scores={beauty: beauty}"), "train_dit.caption_scores: no",
    ),
    "a group of no parameters": Case(
        _new("train_dit.optimizer.groups=[{match: '*nothing*', lr_factor: 2}]"),
        "no trained parameter is left that matches '*nothing*'",
    ),
    "fp16 without a GPU": Case(
        _new("train_dit.mixed_precision=fp16"), "fp16 needs a GPU; say bf16 or no on the CPU",
    ),
}  # fmt: skip
CASES = {**DATA, **START, **RESUME, **DURING, **ADAPTER, **SETTINGS}
