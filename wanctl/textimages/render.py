"""Renders one part of a set of text pictures; runs in worker processes.

Picture number i is a function of the settings, the fonts and i alone, so that a set comes out the
same whichever process draws which part, and however often it is interrupted.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wanctl.data.dataset import clip_id
from wanctl.textimages.characters import Alphabet, Scope, tier
from wanctl.textimages.drawing import Direction, Drawn, NoRoomError, draw, has_ink
from wanctl.textimages.fonts import Font, find_fonts, pick_fonts
from wanctl.textimages.grounds import composed, white
from wanctl.textimages.readback import Reading, read_back
from wanctl.textimages.strings import Corpus, chinese, english, upright
from wanctl.textimages.words import captions
from wanctl.video.encode import write_png

PART = 64
"""Pictures of one part."""
TRIES = 6
"""Strings that are tried for one picture before its number stays empty."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides what is drawn; the recipe's `text_images` says it in words."""

    num_images: int
    height: int
    width: int
    languages: tuple[str, ...]
    fonts: Path | None
    corpus: tuple[Path, ...]
    corpus_share: float
    characters: Scope
    balance: float
    plain_share: float
    vertical_share: float
    max_lines: int
    max_characters: int
    check: bool
    max_error: float
    seed: int


@dataclass
class Tally:
    """Counts over pictures, by tier of character (`common`, `less common`, `rare`, `latin`)."""

    made: int = 0
    given_up: int = 0
    unread: int = 0
    too_long: int = 0
    drawn: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)


def render_part(
    settings: Settings, folder: Path, number: int
) -> tuple[list[dict[str, Any]], Tally]:
    """Draw the pictures of one part into `folder/images/part-NNNNN/`.

    Returns:
        Facts of each picture that came out, and the counts.
    """
    workshop = _workshop(settings, folder)
    tally = Tally()
    rows = []
    last = min(settings.num_images, (number + 1) * PART)
    for index in range(number * PART, last):
        row = workshop.picture(index, tally)
        if row is None:
            tally.given_up += 1
            continue
        tally.made += 1
        rows.append(row)
    return rows, tally


class _Workshop:
    """Fonts, corpus and grounds, loaded once per process."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._fonts = pick_fonts(find_fonts(settings.fonts), settings.languages)
        self._corpus = Corpus(settings.corpus)
        counts = Counter("".join(self._corpus.chinese))
        self._alphabets = {
            font: Alphabet(font.covered, settings.characters, counts, settings.balance)
            for font in self._fonts.get("zh", ())
        }
        self._frames = [_pixels(path) for path in sorted((folder / "grounds").glob("*.png"))]

    def picture(self, index: int, tally: Tally) -> dict[str, Any] | None:
        """One picture, written; None where no string came out legible."""
        for attempt in range(TRIES):
            seeds = np.random.SeedSequence((self._settings.seed, index, attempt))
            random = np.random.Generator(np.random.Philox(seeds))
            try:
                made = self._attempt(random)
            except NoRoomError:
                tally.too_long += 1
                continue
            if made is None:
                continue
            drawn, facts = made
            reading = self._judge(drawn, facts["lines"], tally)
            if reading.error <= self._settings.max_error:
                return self._written(index, drawn, facts, reading)
            tally.unread += 1
        return None

    def _attempt(self, random: np.random.Generator) -> tuple[Drawn, dict[str, Any]] | None:
        settings = self._settings
        language = settings.languages[int(random.integers(len(settings.languages)))]
        font = self._fonts[language][int(random.integers(len(self._fonts[language])))]
        vertical = language == "zh" and random.random() < settings.vertical_share
        direction: Direction = "vertical" if vertical else "horizontal"
        lines = self._lines(random, language, font, direction)
        if not lines:
            return None
        size = settings.height, settings.width
        plain = bool(random.random() < settings.plain_share)
        kind, ground = ("white", white(*size)) if plain else composed(random, *size, self._frames)
        drawn = draw(random, ground, lines, font, direction, plain=plain)
        words = captions(random, lines, kind, direction, drawn.ink)
        return drawn, {
            "lines": lines,
            "language": language,
            "font": font,
            "direction": direction,
            "ground": kind,
            "captions": words,
        }

    def _lines(
        self, random: np.random.Generator, language: str, font: Font, direction: Direction
    ) -> list[str]:
        settings = self._settings
        count = int(random.integers(1, settings.max_lines + 1))
        lines = []
        for _ in range(count):
            length = int(random.integers(1, settings.max_characters + 1))
            length = length if language == "zh" else max(4, 2 * length)
            text = ""
            if random.random() < settings.corpus_share:
                text = self._corpus.line(random, language, length, font.covered)
            if not text and language == "zh":
                text = chinese(random, self._alphabets[font], length)
            text = text or english(random, length)
            text = upright(text) if direction == "vertical" else text
            lines.append("".join(each for each in text if each == " " or has_ink(font, each)))
        return [line for line in lines if line.strip()]

    def _judge(self, drawn: Drawn, lines: Sequence[str], tally: Tally) -> Reading:
        text = "".join("".join(lines).split())
        tally.drawn.update(map(tier, text))
        if not self._settings.check:
            return Reading(0.0, 0, "")
        reading = read_back(drawn.picture, lines, drawn.lines)
        tally.judged.update(map(tier, text))
        tally.missed.update(map(tier, reading.missed))
        return reading

    def _written(
        self, index: int, drawn: Drawn, facts: Mapping[str, Any], reading: Reading
    ) -> dict[str, Any]:
        name = f"images/part-{index // PART:05d}/{index:08d}.png"
        path = self._folder / name
        write_png(path, drawn.picture)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        font: Font = facts["font"]
        return {
            "file_name": name,
            "id": clip_id(content, 0, 1),
            "content_hash": content,
            "text": "\n".join(facts["lines"]),
            **{f"caption_{lang}": text for lang, text in facts["captions"].items()},
            "language": facts["language"],
            "direction": facts["direction"],
            "ground": facts["ground"],
            "font": font.name,
            "font_licence": font.licence,
            "size_px": drawn.size_px,
            "ink": list(drawn.ink),
            "boxes": [_around(boxes) for boxes in drawn.lines],
            "read_error": round(reading.error, 4),
            "height": drawn.picture.shape[0],
            "width": drawn.picture.shape[1],
        }


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _around(boxes: Sequence[Any]) -> list[int]:
    """x, y, width, height of several boxes together."""
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    right = max(box.x + box.width for box in boxes)
    bottom = max(box.y + box.height for box in boxes)
    return [left, top, right - left, bottom - top]


@cache
def _workshop(settings: Settings, folder: Path) -> _Workshop:
    return _Workshop(settings, folder)
