"""Stand-In's side files: matrices for the tokens of a face, read as a part of the transformer."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from wanctl.checkpoint.files.errors import WeightsError
from wanctl.checkpoint.files.tensor_files import tensor_names
from wanctl.checkpoint.find import Components

_NAME = re.compile(r"(?:.*\.)?(blocks\.\d+\.self_attn\.[qkv]_loras\.(?:down|up)\.weight)")


def face_names(stored: Iterable[str]) -> dict[str, str]:
    """Stored name -> official name of the tensors that are a face's; whatever is before them."""
    found = {name: _NAME.fullmatch(name) for name in stored}
    return {name: match[1] for name, match in found.items() if match}


def with_identity(dit: Components, high: str | None, low: str | None) -> Components:
    """A transformer, or two, with the files for a face.

    Args:
        dit: the transformer; of two the one for high noise with the other.
        high: `model.identity`: for the only transformer or the one for high noise. None: no face.
        low: `model.low_identity`: for the one for low noise.

    Raises:
        WeightsError: a file is missing, is another one, or there are more or fewer than experts.
    """
    if high is None and low is None:
        return dit
    if high is None or bool(low) != bool(dit.dit_low):
        need = "two files, model.identity and model.low_identity" if dit.dit_low else "one file"
        raise WeightsError(f"model.identity: {dit.root} takes {need}")
    first = replace(dit, dit=(*(dit.dit or ()), _face_file("identity", high)))
    if low is None:
        return first
    return replace(first, dit_low=(*(dit.dit_low or ()), _face_file("low_identity", low)))


def _face_file(key: str, ref: str) -> Path:
    path = Path(ref).expanduser()
    if not path.is_file():
        raise WeightsError(f"model.{key}: {ref}: no such file")
    names = tensor_names(path)
    if not names or len(face_names(names)) < len(names):
        raise WeightsError(
            f"model.{key}: {ref}: is no file of Stand-In, whose tensors are all named "
            "blocks.N.self_attn.q_loras.down.weight and the like"
        )
    return path
