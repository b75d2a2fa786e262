"""Renders one part of a set of text images; runs in worker processes.

Image number i depends on the settings, the fonts and i alone, so that a set is the same whichever
process draws which part, and however often the run is interrupted.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from wanctl.data.dataset import clip_id
from wanctl.textimages.backgrounds import composed_background, white_background
from wanctl.textimages.captions import write_captions
from wanctl.textimages.characters import Alphabet, Scope, tier
from wanctl.textimages.drawing import Direction, NoRoomError, TextImage, draw, has_ink
from wanctl.textimages.fonts import Font, find_fonts, pick_fonts
from wanctl.textimages.readback import ReadbackResult, read_back
from wanctl.textimages.strings import Corpus, chinese, english, han_only
from wanctl.video.encode import write_png
from wanctl.video.image_files import read_image

PART = 64
"""Images per part."""
TRIES = 6
"""Strings that are tried for one image before its number stays empty."""


@dataclass(frozen=True)
class RenderSettings:
    """Everything that decides what is drawn; the recipe's `text_images` describes each field."""

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
class RenderCounts:
    """Counts of images, and of characters by tier (`common`, `less common`, `rare`, `latin`).

    Attributes:
        made: images written.
        given_up: image numbers for which no string was legible.
        unread: strings that OCR could not read back.
        too_long: strings that did not fit.
        drawn: characters drawn.
        judged: characters that OCR knows and was asked to read.
        missed: judged characters that OCR did not return.
    """

    made: int = 0
    given_up: int = 0
    unread: int = 0
    too_long: int = 0
    drawn: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)


def render_part(
    settings: RenderSettings, folder: Path, number: int
) -> tuple[list[dict[str, Any]], RenderCounts]:
    """Draw the images of one part into `folder/images/part-NNNNN/`.

    Returns:
        The metadata row of each image that was written, and the counts.
    """
    renderer = _renderer(settings, folder)
    counts = RenderCounts()
    rows = []
    last = min(settings.num_images, (number + 1) * PART)
    for index in range(number * PART, last):
        row = renderer.render(index, counts)
        if row is None:
            counts.given_up += 1
            continue
        counts.made += 1
        rows.append(row)
    return rows, counts


class _Renderer:
    """Draws images with the fonts, corpus and backgrounds, which are loaded once per process."""

    def __init__(self, settings: RenderSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._fonts = pick_fonts(find_fonts(settings.fonts), settings.languages)
        self._corpus = Corpus(settings.corpus)
        uses = Counter("".join(self._corpus.chinese))
        self._alphabets = {
            font: Alphabet(font.covered, settings.characters, uses, settings.balance)
            for font in self._fonts.get("zh", ())
        }
        self._frames = [read_image(path) for path in sorted((folder / "grounds").glob("*.png"))]

    def render(self, index: int, counts: RenderCounts) -> dict[str, Any] | None:
        """Write one image and return its metadata; None where no string was legible."""
        for attempt in range(TRIES):
            seeds = np.random.SeedSequence((self._settings.seed, index, attempt))
            random = np.random.Generator(np.random.Philox(seeds))
            try:
                made = self._attempt(random)
            except NoRoomError:
                counts.too_long += 1
                continue
            if made is None:
                continue
            drawn, facts = made
            result = self._check(drawn, facts["lines"], counts)
            if result.error <= self._settings.max_error:
                return self._write(index, drawn, facts, result)
            counts.unread += 1
        return None

    def _attempt(self, random: np.random.Generator) -> tuple[TextImage, dict[str, Any]] | None:
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
        kind, background = (
            ("white", white_background(*size))
            if plain
            else composed_background(random, *size, self._frames)
        )
        drawn = draw(random, background, lines, font, direction, plain=plain)
        captions = write_captions(random, lines, kind, direction, drawn.ink)
        return drawn, {
            "lines": lines,
            "language": language,
            "font": font,
            "direction": direction,
            "ground": kind,
            "captions": captions,
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
            text = han_only(text) if direction == "vertical" else text
            lines.append("".join(each for each in text if each == " " or has_ink(font, each)))
        return [line for line in lines if line.strip()]

    def _check(
        self, drawn: TextImage, lines: Sequence[str], counts: RenderCounts
    ) -> ReadbackResult:
        text = "".join("".join(lines).split())
        counts.drawn.update(map(tier, text))
        if not self._settings.check:
            return ReadbackResult(0.0, 0, "")
        result = read_back(drawn.pixels, lines, drawn.lines)
        counts.judged.update(map(tier, text))
        counts.missed.update(map(tier, result.missed))
        return result

    def _write(
        self, index: int, drawn: TextImage, facts: Mapping[str, Any], result: ReadbackResult
    ) -> dict[str, Any]:
        name = f"images/part-{index // PART:05d}/{index:08d}.png"
        path = self._folder / name
        write_png(path, drawn.pixels)
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
            "boxes": [_bounding_box(boxes) for boxes in drawn.lines],
            "read_error": round(result.error, 4),
            "height": drawn.pixels.shape[0],
            "width": drawn.pixels.shape[1],
        }


def _bounding_box(boxes: Sequence[Any]) -> list[int]:
    """[x, y, width, height] of the smallest box that holds all boxes."""
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    right = max(box.x + box.width for box in boxes)
    bottom = max(box.y + box.height for box in boxes)
    return [left, top, right - left, bottom - top]


@cache
def _renderer(settings: RenderSettings, folder: Path) -> _Renderer:
    return _Renderer(settings, folder)
