"""Loads the models of the optional checks, and says in one line what is missing."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wanctl.errors import UserError


class CheckModelError(UserError):
    """A model of `caption.checks` cannot be loaded."""


def load(key: str, name: str, read: Callable[[str], Any]) -> Any:
    """What `read` makes of a folder or hub id.

    Args:
        key: of the recipe, under `caption.checks`.
        name: folder or hub id.
        read: loads it.

    Raises:
        CheckModelError: the folder does not exist, or holds no such model.
    """
    path = Path(name).expanduser()
    if not path.exists() and (name.startswith((".", "~", "/")) or name.count("/") != 1):
        raise CheckModelError(f"caption.checks.{key}: {name}: no such folder and no hub id")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        return read(str(path) if path.exists() else name)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckModelError(
            f"caption.checks.{key}: {name}: cannot be loaded ({why[:200]}); wanted a folder, or a "
            "hub id that is in the cache or can be downloaded"
        ) from error
