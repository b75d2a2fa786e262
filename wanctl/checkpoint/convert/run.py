"""`wanctl weights convert`: write weights under other names, in other files and formats.

A file that was completed is not written again, so that a conversion that was stopped resumes. The
VAE stays fp32: the error of a 16-bit encoder is visible in every video.
"""

import errno
import glob
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wanctl.atomic import WriteError, make_folder, remove_leftovers, write_bytes
from wanctl.checkpoint.configs import dit_config
from wanctl.checkpoint.convert.plan import (
    DTYPES,
    KEY,
    LAYOUTS,
    ConversionOptions,
    PlannedFile,
    folder_of,
    plan_files,
)
from wanctl.checkpoint.expected import check_network, without_lacking
from wanctl.checkpoint.files.lazy_tensors import write_pth, write_safetensors
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    fingerprint,
    read_metadata,
    write_config,
)
from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.load import read_dit_shape
from wanctl.checkpoint.networks import (
    NETWORKS,
    TEXT_ENCODER,
    TRANSFORMER,
    VAE,
    StoredNetwork,
    open_networks,
)
from wanctl.checkpoint.pipeline_config import network_config, pipeline_files, vae_shape
from wanctl.checkpoint.vae_configs import vae_shape_from_tensors
from wanctl.errors import UserError, unknown
from wanctl.log import Bar, log, progress
from wanctl.model.variants import DiTShape, VAEShape

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def convert(source: str, to: Path, options: ConversionOptions) -> list[Path]:
    """Write what a folder, file or hub id holds in another layout or format.

    Args:
        source: folder, file or hub id.
        to: destination folder, or a `.safetensors` file for one network in layout `single`.
        options: of the conversion.

    Returns:
        The weight files.

    Raises:
        UserError: the source has no weights, or the options are impossible for them.
    """
    _check_options(options)
    components = find_components(source)
    options = replace(options, two_experts=bool(components.dit_low))
    networks = [
        without_lacking(network, components)
        for network in open_networks(components)
        if not options.networks or network.name in options.networks
    ]
    _check(components, networks, to, options)
    if to.is_dir():
        remove_leftovers(to)  # of a conversion that was killed: some may be gigabytes
    vocabulary_sizes = [network.vocabulary.count for network in networks if network.vocabulary]
    key = fingerprint(
        (f for p in networks for f in p.files), about=f"{options.identity} {vocabulary_sizes}"
    )[:16]
    dit = read_dit_shape(components) if components.dit else None
    if dit and any(network.name == TRANSFORMER for network in networks):
        dit_config(dit, options.layout)  # refuses what the layout cannot hold, before it is written
    vae = vae_shape(components, networks)
    files = [
        file
        for network in networks
        for file in plan_files(
            network, to, options, {KEY: key, "wanctl.layout": options.layout}, dit
        )
    ]
    left = [file for file in files if not _is_done(file)]
    if len(left) < len(files):
        log.info("%d of %d files exist already", len(files) - len(left), len(files))
    _refuse_foreign(files)
    try:
        with progress(sum(file.nbytes for file in left), "bytes") as bar:
            for file in left:
                _write(file, key, bar)
        if to.suffix != ".safetensors":
            _describe(components, networks, to, options, dit, vae)
            _write_indices(files)
    except (OSError, WriteError) as error:
        raise _write_failure(to, error) from None
    return [file.path for file in files]


def _write_failure(to: Path, error: OSError | WriteError) -> UserError:
    """One line for a failed write: this command has its destination as an argument, no --out."""
    cause = error.__cause__ if isinstance(error, WriteError) else error
    assert isinstance(cause, OSError)
    full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "make room, or name another place" if full else "name another place"
    return UserError(f"{cause.filename or to}: {cause.strerror or cause}; {advice}")


def parse_size(text: str | None) -> int | None:
    """Parse a size such as `5GB` into bytes.

    Raises:
        UserError: not a number of bytes, KB, MB or GB.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB)?", text.strip().upper())
    if not match or not float(match[1]):
        raise UserError(f"--max-shard-size: got {text!r}; need a size like 5GB or 500MB")
    return int(float(match[1]) * UNITS[match[2] or ""])


def _check_options(options: ConversionOptions) -> None:
    if options.layout not in LAYOUTS:
        raise UserError(f"--layout: {unknown('layout', options.layout, LAYOUTS)}")
    if options.dtype is not None and options.dtype not in DTYPES:
        raise UserError(f"--dtype: {unknown('format', options.dtype, DTYPES)}")
    for name in options.networks:
        if name not in NETWORKS:
            raise UserError(f"--part: {unknown('part', name, NETWORKS)}")
    if options.dtype == "fp8" and options.layout == "diffusers":
        raise UserError(
            "--dtype fp8: diffusers reads no scaled fp8; take --layout single or official"
        )


def _check(
    components: Components, networks: Sequence[StoredNetwork], to: Path, options: ConversionOptions
) -> None:
    if not networks:
        raise WeightsError(
            f"{components.root}: holds none of {', '.join(options.networks or NETWORKS)}"
        )
    if to.suffix == ".safetensors" and (len(networks) > 1 or options.layout != "single"):
        raise UserError(
            f"{to}: one file holds one part of layout `single`, and here are "
            f"{', '.join(p.name for p in networks)} as {options.layout}; name one with --part, or "
            "give a folder"
        )
    if to.exists() and to.is_dir() == (to.suffix == ".safetensors"):
        got, need = ("folder", "file") if to.is_dir() else ("file", "folder")
        raise UserError(f"{to}: is a {got}, and a {need} is needed; name another place")
    sources = {path.resolve() for network in networks for path in network.files}
    if any(to.resolve() in (path, *path.parents) for path in sources):
        raise UserError(f"{to}: holds the source weights; name another place")
    for network in networks:
        if network.duplicates:
            raise WeightsError(
                f"{network.files[0].parent}: {network.duplicates[0]} is in two files; remove one"
            )
        check_network(network, components)
    shape = vae_shape(components, networks)
    published = shape and vae_shape_from_tensors(_of(networks, VAE).shapes, "")
    if shape != published and options.layout != "diffusers":
        raise UserError(
            f"{_of(networks, VAE).files[0]}: its latents have statistics of their own, for which "
            f"layout {options.layout} has no place; take --layout diffusers, or leave it out with "
            "--part"
        )


def _of(networks: Sequence[StoredNetwork], name: str) -> StoredNetwork:
    return next(network for network in networks if network.name == name)


def _is_done(file: PlannedFile) -> bool:
    if not file.path.is_file():
        return False
    if file.path.suffix == ".pth":
        note = _note(file.path)
        return note.is_file() and note.read_text(encoding="utf-8") == file.metadata[KEY]
    try:
        return read_metadata(file.path).get(KEY) == file.metadata[KEY]
    except WeightsError:
        return False


def _refuse_foreign(files: Sequence[PlannedFile]) -> None:
    """Check that weights which a conversion would replace or remove were written by one.

    Raises:
        UserError: names a file that was not.
    """
    for file in files:
        stem = _network(file.path)
        for path in sorted(file.path.parent.glob(f"{glob.escape(stem)}*{file.path.suffix}")):
            if _network(path) == stem and not _is_converted(path):
                raise UserError(
                    f"{path}: exists, and no conversion wrote it; remove it or name another place"
                )


def _is_converted(path: Path) -> bool:
    if path.suffix == ".pth":
        return _note(path).is_file()
    try:
        return KEY in read_metadata(path)
    except WeightsError:
        return False


def _network(path: Path) -> str:
    """A file's name without its shard number."""
    return re.sub(r"-\d{5}-of-\d{5}$", "", path.stem)


def _note(path: Path) -> Path:
    """Path of the note with the key of a `.pth`, which has no header."""
    return path.with_name(f".{path.name}.source")


def _write(file: PlannedFile, key: str, bar: Bar) -> None:
    make_folder(file.path.parent)
    if file.path.suffix == ".pth":
        write_pth(file.path, file.tensors, bar)
        _note(file.path).write_text(key, encoding="utf-8")
    else:
        write_safetensors(file.path, file.tensors, file.metadata, bar)


def _write_indices(files: Sequence[PlannedFile]) -> None:
    """Write the index of every sharded network; remove stale shards and indices."""
    networks: dict[tuple[Path, str], list[PlannedFile]] = {}
    for file in files:
        if file.path.suffix == ".safetensors":
            networks.setdefault((file.path.parent, _network(file.path)), []).append(file)
    for (folder, stem), group in networks.items():
        index = folder / f"{stem}.safetensors.index.json"
        kept = {file.path for file in group}
        for path in folder.glob(f"{glob.escape(stem)}*.safetensors"):
            if path not in kept and _network(path) == stem:
                path.unlink()
        if len(group) == 1:
            index.unlink(missing_ok=True)
            continue
        total = sum(file.nbytes for file in group)
        weight_map = {name: file.path.name for file in group for name in file.tensors}
        write_config(index, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _describe(
    components: Components,
    networks: Sequence[StoredNetwork],
    to: Path,
    options: ConversionOptions,
    dit: DiTShape | None,
    vae: VAEShape | None,
) -> None:
    """Write configs, tokenizer and, in the diffusers layout, the files of the pipeline."""
    if options.layout == "single":
        return
    for network in networks:
        config: Any = network_config(network, options.layout, dit, vae)
        if config is not None:
            folder = folder_of(network, to, options)
            write_config(folder / "config.json", config)
    names = {network.name for network in networks}
    if components.tokenizer and TEXT_ENCODER in names:
        place = "tokenizer" if options.layout == "diffusers" else "google/umt5-xxl"
        for path in sorted(components.tokenizer.rglob("*")):
            if path.is_file():  # its mode is not copied: files of a hub cache may be read-only
                write_bytes(to / place / path.relative_to(components.tokenizer), path.read_bytes())
    if options.layout == "diffusers" and dit and {TRANSFORMER, VAE, TEXT_ENCODER} <= names:
        for name, content in pipeline_files(networks, dit).items():
            make_folder((to / name).parent)
            write_config(to / name, content)
