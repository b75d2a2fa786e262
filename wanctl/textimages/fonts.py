"""Finds installed fonts, the characters that each can draw, and its licence."""

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from wanctl.errors import UserError
from wanctl.textimages.characters import LATIN, level_one

SUFFIXES = frozenset({".ttf", ".otf", ".ttc", ".otc"})
# a Chinese font lacks a few characters of level one at most
MIN_CHINESE = 0.99


class FontError(UserError):
    """No font covers a requested language."""


@dataclass(frozen=True)
class Font:
    """One face of a font file.

    Attributes:
        path: the file.
        index: face within a collection.
        name: family and style.
        licence: as its name table states it, short; "not stated".
        covered: characters with a glyph of their own.
    """

    path: Path
    index: int
    name: str
    licence: str
    covered: frozenset[str]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the font covers: `zh`, `en`."""
        common = level_one()
        chinese = len(self.covered & common) >= MIN_CHINESE * len(common)
        latin = self.covered >= LATIN
        return ("zh",) * chinese + ("en",) * latin


def find_fonts(folder: Path | None) -> list[Font]:
    """Fonts in a folder; without one, those of the system and of installed Python packages.

    Damaged files, bitmap fonts and symbol fonts are skipped. The order depends on names alone.
    """
    if folder is not None and not folder.is_dir():
        raise FontError(f"text_images.fonts: {folder}: no such folder")
    files = _below(folder) if folder else [*_of_the_system(), *_of_packages()]
    faces = [face for path in sorted(set(files)) for face in _faces(path)]
    once = {(font.name, font.covered): font for font in reversed(faces)}
    return sorted(once.values(), key=lambda font: (font.name, str(font.path)))


def pick_fonts(fonts: list[Font], languages: tuple[str, ...]) -> dict[str, list[Font]]:
    """Language -> the fonts that cover it.

    Raises:
        FontError: no font covers a language.
    """
    chosen = {lang: [font for font in fonts if lang in font.languages] for lang in languages}
    for lang, suitable in chosen.items():
        if not suitable:
            hint = " (`pip install pylopdf-fonts-zh-cn` brings Noto Sans SC and Noto Serif SC)"
            raise FontError(
                f"text_images.languages: no font for {lang!r} among {len(fonts)}; set "
                f"text_images.fonts to a folder that has one{hint if lang == 'zh' else ''}"
            )
    return chosen


def _of_the_system() -> list[Path]:
    home = Path.home()
    folders = {
        "darwin": [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"],
        "win32": [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"],
    }.get(
        sys.platform,
        [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts"],
    )
    return [path for folder in folders for path in _below(folder)]


def _of_packages() -> list[Path]:
    """Font files that installed packages list as theirs."""
    return [
        path
        for package in distributions()
        for file in package.files or ()
        if Path(file).suffix.lower() in SUFFIXES and (path := Path(str(file.locate()))).is_file()
    ]


def _below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]


@cache
def _faces(path: Path) -> tuple[Font, ...]:
    from fontTools.ttLib import TTCollection, TTFont, TTLibError  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            several = path.suffix.lower() in {".ttc", ".otc"}
            members = TTCollection(file, lazy=True) if several else [TTFont(file, lazy=True)]
            fonts = [_face(path, index, font) for index, font in enumerate(members)]
    except (TTLibError, OSError, ValueError, KeyError, AssertionError):
        return ()
    return tuple(font for font in fonts if font is not None)


def _face(path: Path, index: int, font: "object") -> Font | None:
    from fontTools.ttLib import TTFont  # noqa: PLC0415

    assert isinstance(font, TTFont)
    table = font.getBestCmap()
    outlines = any(tag in font for tag in ("glyf", "CFF ", "CFF2"))
    if table is None or not outlines:
        return None
    names = font["name"]
    covered = frozenset(chr(code) for code, glyph in table.items() if glyph != ".notdef")
    family, style = (names.getDebugName(key) or "" for key in (1, 2))
    return Font(path, index, f"{family} {style}".strip() or path.stem, _licence(names), covered)


def _licence(names: "object") -> str:
    read = names.getDebugName  # type: ignore[attr-defined]
    text = " ".join(filter(None, (read(13), read(14))))
    if "Open Font License" in text or "OFL" in text:
        return "OFL-1.1"
    if "Apache" in text:
        return "Apache-2.0"
    if "Bitstream" in text or "dejavu" in text:
        return "Bitstream Vera and Arev (DejaVu)"
    return " ".join(text.split())[:120] or "not stated"
