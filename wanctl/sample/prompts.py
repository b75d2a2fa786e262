"""Prompts as the user gives them, and the file names they turn into."""

import re
from pathlib import Path

from wanctl.errors import UserError

SLUG_LENGTH = 40


class PromptError(UserError):
    """A prompt, or a file of them, that cannot be used."""


def read_prompts(prompt: str) -> list[str]:
    """The prompts behind the command's argument.

    Args:
        prompt: text, or the path of a `.txt` file with one prompt per line; blank lines and
            lines that start with `#` are skipped, and of equal lines the first is kept.

    Raises:
        PromptError: nothing to show, or the file cannot be read.
    """
    if not prompt.strip():
        raise PromptError("prompt: got an empty text; say what to show")
    if not prompt.endswith(".txt"):
        return [prompt.strip()]
    try:
        lines = Path(prompt).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise PromptError(f"{prompt}: not UTF-8 text; need one prompt per line") from None
    except OSError as error:
        raise PromptError(f"{prompt}: cannot be read: {error.strerror}") from None
    stripped = (line.strip() for line in lines)
    prompts = list(dict.fromkeys(line for line in stripped if line and not line.startswith("#")))
    if not prompts:
        raise PromptError(f"{prompt}: holds no prompt; need one per line, `#` starts a comment")
    return prompts


def slug(prompt: str) -> str:
    """A prompt as part of a file name: letters and digits of any script, the rest dashes."""
    words = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")
    return words[:SLUG_LENGTH].rstrip("-") or "prompt"
