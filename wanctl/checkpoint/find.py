"""Find the components of a model: the files of its transformer, VAE, text encoder and tokenizer.

A reference is a folder in the official, the diffusers or wanctl's own layout, one weight file, or a
hub id. No weights are loaded here. A hub id that the user names may be downloaded; nothing else is.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wanctl.checkpoint.tensor_files import (
    WEIGHT_SUFFIXES,
    WeightsError,
    read_config,
    read_metadata,
    tensor_names,
)
from wanctl.log import log
from wanctl.path_names import is_inside

Layout = Literal["official", "diffusers", "wanctl"]

STEM = "diffusion_pytorch_model"
SAVED_VARIANTS = ("", ".fp32", ".fp16", ".bf16")  # widest first
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Documentation images and videos in the published repositories.
NOT_WEIGHTS = ["assets/*", "examples/*", "*.md", "*.gif", "*.mp4"]


@dataclass(frozen=True)
class Components:
    """The files of one model; None where the reference holds no such component.

    Attributes:
        root: the folder or file.
        layout: whose file and folder names it has.
        dit: files of the transformer; of two experts, of the one for high noise.
        dit_config: its config.json.
        vae: files of the VAE.
        vae_config: its config.json.
        text_encoder: a folder, or the published file.
        tokenizer: folder of the text encoder's tokenizer.
        dit_low: files of the expert for low noise.
        dit_low_config: its config.json.
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
        """These components with the low-noise expert as the transformer."""
        return replace(self, dit=self.dit_low, dit_config=self.dit_low_config)


def find_components(ref: str | Path) -> Components:
    """Find what a folder, a weight file or a hub id holds.

    Args:
        ref: named by the user: a hub id that is not in the local cache is downloaded, and a log
            line says what is downloaded and where it goes.

    Raises:
        WeightsError: there is no such reference, or no known weights in it; says where was searched
            and how to get the weights.
    """
    path = Path(ref).expanduser()
    return _components_at(path if path.exists() else _snapshot(str(ref)))


def cached_components(hub_id: str | None) -> Components | None:
    """Components of a hub model in the local cache; None where they are not. Never downloads."""
    if hub_id is None:
        return None
    # Half a second that a local model need not pay.
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return _components_at(Path(snapshot_download(hub_id, local_files_only=True)))
    except (LocalEntryNotFoundError, OSError, WeightsError):
        return None


def saved_step(folder: Path) -> int | None:
    """Training step in the header of the model saved in `folder`; None where none was finished."""
    try:
        files = weight_files(folder)
        if not files or not (folder / "config.json").exists():
            return None
        step = read_metadata(files[-1]).get("step", "")
    except WeightsError:
        return None
    return int(step) if step.isdigit() else None


def _components_at(path: Path) -> Components:
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


def _snapshot(ref: str) -> Path:
    """Local snapshot of a hub model that the user named: from the cache, else downloaded."""
    searched = f"no file or folder {ref!r} in {Path.cwd()}"
    if not HUB_ID.fullmatch(ref):
        raise WeightsError(f"weights: {searched}, and it is no hub id (OWNER/NAME)")
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415

    reason = ""
    for local_only in (True, False):
        if not local_only:
            log.info("%s: not in the hub cache; downloading it from the hub to %s",
                     ref, constants.HF_HUB_CACHE)  # fmt: skip
        try:
            return Path(
                snapshot_download(ref, ignore_patterns=NOT_WEIGHTS, local_files_only=local_only)
            )
        # The hub client raises a dozen unrelated types for "not cached", "no network", "no such
        # model" and "not allowed"; to the user they are one case.
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    raise WeightsError(
        f"weights: {searched}, not in the hub cache {constants.HF_HUB_CACHE}, and no download "
        f"({reason}); get it with `hf download {ref} --local-dir DIR`, then "
        "`--set model.weights=DIR`"
    )


def _in_file(path: Path) -> Components | None:
    """One weight file; its tensor names show which component it holds."""
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
    """Whether a file, or a folder of PEFT, holds a LoRA."""
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
    """A folder with one subfolder per component."""
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
    """The shards that an index lists, or the single weight file; None where there is neither.

    Every name that diffusers and transformers give these files is known.

    Raises:
        WeightsError: the index is not valid, or lists a file that is missing.
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
    """The files that an index lists, in order of their names."""
    places = read_config(index).get("weight_map")
    if not places or not isinstance(places, dict):
        raise WeightsError(f"{index}: no index of shards; need tensor names under `weight_map`")
    names = sorted({str(name) for name in places.values()})
    if outside := [name for name in names if not is_inside(name)]:
        raise WeightsError(f"{index}: lists a file outside of its folder: {outside[0]!r}")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise WeightsError(
            f"{index}: {len(missing)} of {len(names)} files are missing, e.g. {missing[0]}"
        )
    return tuple(index.parent / name for name in names)


def _config(folder: Path, key: str | None = None) -> Path | None:
    """The folder's config.json, if it exists and has this key."""
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
