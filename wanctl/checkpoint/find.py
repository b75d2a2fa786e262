"""Where the parts of a model lie: transformer, VAE, text encoder and tokenizer of one reference.

A reference is a folder in the official, the diffusers or our own layout, one weight file, or a hub
id. Nothing is loaded here.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wanctl.checkpoint.tensor_files import WEIGHT_SUFFIXES, WeightsError, read_config, tensor_names

Layout = Literal["official", "diffusers", "wanctl"]

STEM = "diffusion_pytorch_model"
SAVED_VARIANTS = ("", ".fp32", ".fp16", ".bf16")  # the widest that is there
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Documentation pictures and videos in the published repositories.
NOT_WEIGHTS = ["assets/*", "examples/*", "*.md", "*.gif", "*.mp4"]


@dataclass(frozen=True)
class Components:
    """The files of one model; None where the reference holds no such part.

    Attributes:
        root: the folder or file.
        dit: the transformer; of two experts the one for high noise.
        dit_low: the one for low noise.
        image_encoder: CLIP's vision tower: a folder, or the published file.
    """

    root: Path
    layout: Layout
    dit: tuple[Path, ...] | None = None
    dit_config: Path | None = None
    vae: tuple[Path, ...] | None = None
    vae_config: Path | None = None
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    dit_low: tuple[Path, ...] | None = None
    dit_low_config: Path | None = None
    image_encoder: Path | None = None

    @property
    def low_expert(self) -> "Components":
        """The same with the low-noise expert as its transformer."""
        return replace(self, dit=self.dit_low, dit_config=self.dit_low_config)


def find_components(ref: str | Path) -> Components:
    """Find what a folder, a weight file or a hub id holds.

    Raises:
        WeightsError: there is nothing of that name, or nothing in it that is known; says where it
            looked and how to get the weights.
    """
    path = Path(ref).expanduser()
    if not path.exists():
        path = _from_hub(str(ref))
    found = _in_file(path) if path.is_file() else _in_folder(path)
    if found is None:
        if _is_lora(path):
            raise WeightsError(
                f"{path}: is a LoRA, no model; name it under `model.loras`, beside `model.weights`"
            )
        raise WeightsError(
            f"{path}: holds no weights known here; need {STEM}*.safetensors with config.json, "
            "a diffusers pipeline folder (model_index.json), a run folder (dit/, vae/), or a "
            f"{', '.join(WEIGHT_SUFFIXES[:-1])} or {WEIGHT_SUFFIXES[-1]} file"
        )
    return found


def _from_hub(ref: str) -> Path:
    """Local snapshot of a hub model: from the cache if it is there, else downloaded."""
    looked = f"no file or folder {ref!r} in {Path.cwd()}"
    if not HUB_ID.fullmatch(ref):
        raise WeightsError(f"weights: {looked}, and it is no hub id (OWNER/NAME)")
    # Half a second that a local model need not pay.
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415

    for local_only in (True, False):
        try:
            return Path(
                snapshot_download(ref, ignore_patterns=NOT_WEIGHTS, local_files_only=local_only)
            )
        # The hub client raises a dozen unrelated types for "not cached", "no network", "no such
        # model" and "not allowed"; to the user they are one case.
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    raise WeightsError(
        f"weights: {looked}, not in the hub cache {constants.HF_HUB_CACHE}, and no download "
        f"({reason}); get it with `hf download {ref} --local-dir DIR`, then "
        "`--set model.weights=DIR`"
    )


def _in_file(path: Path) -> Components | None:
    """One weight file: which part it is shows in its tensor names."""
    if path.suffix not in WEIGHT_SUFFIXES:
        return None
    here = Components(path, "official")
    names = set(tensor_names(path))
    if {"visual.cls_embedding", "vision_model.embeddings.class_embedding"} & names:
        return replace(here, image_encoder=path)
    if any(name.endswith("patch_embedding.weight") for name in names):
        return replace(here, dit=(path,), dit_config=_config(path.parent, "num_layers"))
    if "token_embedding.weight" in names or "shared.weight" in names:
        return replace(here, text_encoder=path, tokenizer=_tokenizer(path.parent))
    if any(name.startswith(("decoder.", "encoder.")) for name in names):
        return replace(here, vae=(path,), vae_config=_config(path.parent, "z_dim"))
    return None


def _is_lora(path: Path) -> bool:
    """Whether a file, or PEFT's folder, holds changes of a model."""
    if path.is_dir():
        return (path / "adapter_config.json").is_file()
    return path.suffix in WEIGHT_SUFFIXES and any(".lora" in name for name in tensor_names(path))


def _in_folder(folder: Path) -> Components | None:
    if (folder / "model_index.json").is_file() or (folder / "transformer").is_dir():
        return _pipeline(folder, "diffusers", dit="transformer", low="transformer_2")
    if any((folder / part / "config.json").is_file() for part in ("dit", "vae")):
        return _pipeline(folder, "wanctl", dit="dit", low="dit_low")
    here = Components(
        folder,
        "official",
        text_encoder=_text_encoder(folder),
        tokenizer=_tokenizer(folder),
        image_encoder=_image_encoder(folder),
    )
    files, config = weight_files(folder), _config(folder)
    kind = read_config(config).get("model_type") if config else None
    if kind == "umt5":
        return replace(here, text_encoder=folder, tokenizer=_tokenizer(folder.parent) or folder)
    if kind == "clip_vision_model":
        return replace(here, image_encoder=folder)
    if files and _config(folder, "z_dim"):
        return replace(here, vae=files, vae_config=config)
    vae = next((p for p in sorted(folder.glob("*VAE*")) if p.suffix in WEIGHT_SUFFIXES), None)
    high, low = folder / "high_noise_model", folder / "low_noise_model"
    if high.is_dir() or low.is_dir():
        files, config = weight_files(high), _config(high)
        here = replace(here, dit_low=weight_files(low), dit_low_config=_config(low))
    if files or vae or here.dit_low or here.text_encoder or here.image_encoder:
        dit_config = config if files else None
        return replace(here, dit=files, dit_config=dit_config, vae=(vae,) if vae else None)
    return None


def _pipeline(folder: Path, layout: Layout, *, dit: str, low: str) -> Components:
    """A folder with one subfolder per part."""
    return Components(
        root=folder,
        layout=layout,
        dit=weight_files(folder / dit),
        dit_config=_config(folder / dit),
        vae=weight_files(folder / "vae"),
        vae_config=_config(folder / "vae"),
        text_encoder=_text_encoder(folder),
        tokenizer=_tokenizer(folder),
        dit_low=weight_files(folder / low),
        dit_low_config=_config(folder / low),
        image_encoder=_image_encoder(folder),
    )


def weight_files(folder: Path, stem: str = STEM) -> tuple[Path, ...] | None:
    """The shards an index names, or the one file there is; under every name diffusers gives them.

    Raises:
        WeightsError: the index is none, or names a file that is not there.
    """
    pickled = "pytorch_model" if stem == "model" else stem
    for name, suffix in ((stem, ".safetensors"), (pickled, ".bin")):
        for variant in SAVED_VARIANTS:
            index = folder / f"{name}{suffix}.index{variant}.json"
            if index.is_file():
                return _indexed(index)
            file = folder / f"{name}{variant}{suffix}"
            if file.is_file():
                return (file,)
    return None


def _indexed(index: Path) -> tuple[Path, ...]:
    """The files an index names, in order."""
    places = read_config(index).get("weight_map")
    if not places or not isinstance(places, dict):
        raise WeightsError(f"{index}: no index of shards; need tensor names under `weight_map`")
    names = sorted({str(name) for name in places.values()})
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise WeightsError(
            f"{index}: {len(missing)} of {len(names)} files are missing, e.g. {missing[0]}"
        )
    return tuple(index.parent / name for name in names)


def _config(folder: Path, key: str | None = None) -> Path | None:
    """The folder's config.json, if it is there and has this key."""
    path = folder / "config.json"
    return path if path.is_file() and (key is None or key in read_config(path)) else None


def _text_encoder(folder: Path) -> Path | None:
    """A folder as transformers writes it, or the published single file."""
    if (folder / "text_encoder").is_dir():
        return folder / "text_encoder"
    return next(iter(sorted(folder.glob("models_t5*.pth"))), None)


def _image_encoder(folder: Path) -> Path | None:
    """A folder as transformers writes it, or the published single file."""
    if (folder / "image_encoder").is_dir():
        return folder / "image_encoder"
    return next(iter(sorted(folder.glob("models_clip*.pth"))), None)


def _tokenizer(folder: Path) -> Path | None:
    for name in ("tokenizer", "google/umt5-xxl"):
        if (folder / name).is_dir():
            return folder / name
    return None
