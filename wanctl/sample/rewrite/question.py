"""A prompt to be rewritten, and the pictures that belong to it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Picture:
    """An input picture of the sample.

    Attributes:
        role: `first`, `last`, `known`, `goes_on` or `subject`; see `instructions.py`.
        frame: number of a known frame in the output; 0 for the others.
        content: sha256 of its file.
        load: (H, W, 3) uint8 RGB.
    """

    role: str
    frame: int
    content: str
    load: Callable[[], np.ndarray] = field(compare=False)


@dataclass(frozen=True)
class Question:
    """One prompt to be rewritten.

    Attributes:
        prompt: as typed.
        language: of the rewritten prompt.
        pictures: in the order in which they are shown.
    """

    prompt: str
    language: Language
    pictures: Sequence[Picture] = ()

    def key(self, model: str, instructions: str) -> str:
        """Hash of everything that the answer depends on.

        Args:
            model: that is asked.
            instructions: that it gets.
        """
        pictures = [(each.role, each.frame, each.content) for each in self.pictures]
        content = json.dumps([self.prompt, self.language, pictures, model, instructions])
        return hashlib.sha256(content.encode()).hexdigest()[:24]
