"""Find the components of a model: the files of its transformer, VAE, text encoder and tokenizer.

A reference is a folder in the official, the diffusers or wanctl's own layout, one weight file, or a
hub id. No weights are loaded here. A hub id that the user names may be downloaded; nothing else is.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from wanctl.checkpoint.files.folders import (
    hub_snapshot,
    loose_files,
    weight_files,
    weight_paths,
)
from wanctl.checkpoint.files.kinds import describe, holds_weights
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    read_config,
    read_metadata,
    tensor_names,
)
from wanctl.checkpoint.prefixes import (
    IMAGE_ENCODER,
    TEXT_ENCODER,
    TRANSFORMER,
    VAE,
    networks_in,
)
from wanctl.checkpoint.registry.refusals import why_no_model
from wanctl.log import log

Layout = Literal["official", "diffusers", "wanctl"]

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COMPONENT_NAMES = {
    "dit": "transformer",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "image_encoder": "CLIP vision tower",
    "audio_encoder": "audio encoder (wav2vec2)",
}
WEIGHT_KEYS = {"dit", "dit_low", "vae", "text_encoder", "image_encoder"}
WAV2VEC2 = "wav2vec2"
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
        audio_encoder: folder of wav2vec2.
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
    audio_encoder: Path | None = None

    @property
    def low_expert(self) -> "Components":
        """These components with the low-noise expert as the transformer."""
        return replace(self, dit=self.dit_low, dit_config=self.dit_low_config)

    @property
    def held(self) -> str:
        """Names of the components that are there."""
        return " and a ".join(n for part, n in COMPONENT_NAMES.items() if getattr(self, part))


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
    if path.is_file():
        found = _in_file(path)
    elif path.is_dir():
        path = hub_snapshot(path)
        found = _in_folder(path) or _in_loose_files(path)
    else:
        raise WeightsError(f"{path}: is neither a file nor a folder")
    if found is not None:
        return found
    raise WeightsError(f"{path}: {why_no_model(path)}")


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
    """One weight file; its tensor names show which components it holds.

    Raises:
        WeightsError: no weight file; says what it is.
    """
    if not holds_weights(path):
        raise WeightsError(f"{path}: is {describe(path)}")
    return components_in(path, (path,))


def components_in(root: Path, files: tuple[Path, ...]) -> Components | None:
    """Weight files that belong together: one network, or all of a model; None for others.

    Args:
        root: names them in messages.
        files: e.g. the shards of a network.

    Raises:
        WeightsError: a file cannot be read.
    """
    networks = networks_in(name for path in files for name in tensor_names(path))
    if not networks:
        return None
    folder = files[0].parent
    here = Components(root, "official")
    if TRANSFORMER in networks:
        here = replace(here, dit=files, dit_config=_config(folder, "num_layers"))
    if VAE in networks:
        here = replace(here, vae=files, vae_config=_config(folder, "z_dim"))
    if TEXT_ENCODER in networks:
        place = files[0] if len(files) == 1 else folder
        here = replace(here, text_encoder=place, tokenizer=_tokenizer(folder))
    return replace(here, image_encoder=files[0]) if IMAGE_ENCODER in networks else here


def _in_loose_files(folder: Path) -> Components | None:
    """Files of any name in a folder, e.g. those of ComfyUI; two transformers are two experts.

    Raises:
        WeightsError: several files hold the same network.
    """
    here: dict[str, Any] = {}
    for files in loose_files(folder):
        found = components_in(folder, files) if all(map(holds_weights, files)) else None
        if found is None:
            continue
        entries = {k: v for k, v in vars(found).items() if v and k not in ("root", "layout")}
        if "dit" in entries and "low" in files[0].name.lower():
            entries["dit_low"], entries["dit_low_config"] = (
                entries.pop("dit"), entries.pop("dit_config", None),
            )  # fmt: skip
        for key, value in entries.items():
            if key in WEIGHT_KEYS and here.get(key, value) != value:
                raise WeightsError(
                    f"{folder}: holds several files with the same network ({_first(here[key]).name}"
                    f", {_first(value).name}); name one of them"
                )
        here |= entries
    if not WEIGHT_KEYS & here.keys():
        return None
    if "dit_low" in here and "dit" not in here:
        here["dit"], here["dit_config"] = here.pop("dit_low"), here.pop("dit_low_config")
    return Components(folder, "official", **here)


def _first(files: Path | tuple[Path, ...]) -> Path:
    return files if isinstance(files, Path) else files[0]


def _in_folder(folder: Path) -> Components | None:
    if (folder / "model_index.json").is_file() or (folder / "transformer").is_dir():
        return _pipeline(folder, "diffusers", dit="transformer", low="transformer_2")
    if any((folder / part / "config.json").is_file() for part in ("dit", "dit_low", "vae")):
        return _pipeline(folder, "wanctl", dit="dit", low="dit_low")
    here = Components(
        folder,
        "official",
        text_encoder=_text_encoder(folder),
        tokenizer=_tokenizer(folder),
        image_encoder=_image_encoder(folder),
        audio_encoder=_audio_encoder(folder),
    )
    files, config = weight_files(folder), _config(folder)
    about = read_config(config) if config else {}
    if about.get("_class_name") == "TinyDecoder":
        return None
    kind = about.get("model_type")
    if kind == "umt5":
        return replace(here, text_encoder=folder, tokenizer=_tokenizer(folder.parent) or folder)
    if kind == "clip_vision_model":
        return replace(here, image_encoder=folder)
    if kind == WAV2VEC2:
        return replace(here, audio_encoder=folder)
    if files and _config(folder, "z_dim"):
        return replace(here, vae=files, vae_config=config)
    vae = next((p for p in weight_paths(folder) if "vae" in p.name.lower()), None)
    high, low = folder / "high_noise_model", folder / "low_noise_model"
    if high.is_dir() or low.is_dir():
        files, config = weight_files(high), _config(high)
        here = replace(here, dit_low=weight_files(low), dit_low_config=_config(low))
    encoders = here.text_encoder or here.image_encoder or here.audio_encoder
    if files or vae or here.dit_low or encoders:
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
        audio_encoder=_audio_encoder(folder),
    )


def _config(folder: Path, key: str | None = None) -> Path | None:
    """The folder's config.json, if it exists and has this key."""
    path = folder / "config.json"
    return path if path.is_file() and (key is None or key in read_config(path)) else None


def _text_encoder(folder: Path) -> Path | None:
    """A folder as transformers writes it, or the published single file."""
    if (folder / "text_encoder").is_dir():
        return folder / "text_encoder"
    return next((p for p in weight_paths(folder) if p.name.startswith("models_t5")), None)


def _image_encoder(folder: Path) -> Path | None:
    """A folder as transformers writes it, or the published single file."""
    if (folder / "image_encoder").is_dir():
        return folder / "image_encoder"
    return next((p for p in weight_paths(folder) if p.name.startswith("models_clip")), None)


def _audio_encoder(folder: Path) -> Path | None:
    """A folder as transformers writes it, or one named as in the published model."""
    names = ("audio_encoder", *sorted(p.name for p in folder.glob(f"{WAV2VEC2}*") if p.is_dir()))
    found = (folder / name for name in names if (folder / name / "config.json").is_file())
    return next(found, None)


def _tokenizer(folder: Path) -> Path | None:
    for name in ("tokenizer", "google/umt5-xxl"):
        if (folder / name).is_dir():
            return folder / name
    return None
