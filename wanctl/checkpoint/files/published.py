"""Files of small VAEs that are known by their published names, and where they come from."""

from pathlib import Path

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.folders import CACHED
from wanctl.checkpoint.files.tensor_files import WEIGHT_SUFFIXES

TAEHV = "take {name}.safetensors from https://github.com/madebyollin/taehv"
LIGHTX2V = "`hf download lightx2v/Autoencoders {name}.safetensors`"
# Name without its ending -> how to get it. The tiny ones of LightX2V take other latents than
# TAEHV's own.
PUBLISHED = {
    "taew2_1": TAEHV,
    "taew2_2": TAEHV,
    "lighttaew2_1": LIGHTX2V,
    "lighttaew2_2": LIGHTX2V,
    "lightvaew2_1": LIGHTX2V,
}


def published_file(name: str) -> Path | None:
    """The file of a known name in the working folder, else in the hub cache; None for other names.

    Nothing is downloaded.

    Raises:
        WeightsError: a known name without a file; says where to get it.
    """
    if name not in PUBLISHED or Path(name).exists():
        return None
    # Half a second that other names need not pay.
    from huggingface_hub import constants  # noqa: PLC0415

    cache = Path(constants.HF_HUB_CACHE)
    for suffix in WEIGHT_SUFFIXES:
        cached = sorted(cache.glob(f"{CACHED}*/snapshots/*/{name}{suffix}"))
        for path in (Path(f"{name}{suffix}"), *cached):
            if path.is_file():
                return path
    raise WeightsError(
        f"weights: no {name}.safetensors or .pth in {Path.cwd()}, nor in the hub cache {cache}; "
        f"{PUBLISHED[name].format(name=name)}"
    )
