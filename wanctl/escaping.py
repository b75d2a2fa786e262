"""Other people's text (file names, captions, licences) in a page, a table, a header or a log line.

Every file that the program writes for people uses these functions and no rules of its own. Files
that other programs read (the index files of an export) hold the text as it is.
"""

import html
import json
import re
import unicodedata
from typing import Any

# Line and paragraph separators, and the marks that turn the direction of the text after them.
_INVISIBLE = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&$]")
_NAME = re.compile(r"[\w.@/+-]+")
# What a spreadsheet takes for a formula: the first character after quotes and blanks.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def one_line(text: str) -> str:
    r"""Text as one line without control characters, which are written as `\n`, `\x1b`, `\u2028`.

    A terminal would obey escape sequences in a file name, and a line break in one would make one
    event two lines.
    """
    if text.isprintable():
        return text
    return "".join(_visible(each) for each in text)


def html_text(text: object) -> str:
    """Text for HTML and SVG, as content and between the quotes of an attribute."""
    return html.escape(_printable(str(text)), quote=True)


def script_json(value: Any) -> str:
    """A value as JSON inside a `<script>` element; valid as JavaScript, too.

    No `<` is left: `</script` would end the element, and `<!--` with `<script` would swallow its
    end. U+2028 and U+2029 end a line in older JavaScript.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    for each in "<>&\u2028\u2029":
        text = text.replace(each, f"\\u{ord(each):04x}")
    return text


def markdown_text(text: object) -> str:
    """Text for one line of Markdown or one cell of its tables: no markup, no HTML, no link."""
    return _MARKDOWN.sub(_escaped_markdown, one_line(str(text)))


def markdown_code(text: object) -> str:
    """A name in backticks; as plain text where it holds more than the characters of a name.

    Escapes do not work between backticks, and a backtick or a `|` would end the name.
    """
    plain = str(text)
    return f"`{plain}`" if _NAME.fullmatch(plain) else markdown_text(plain)


def yaml_text(text: object) -> str:
    """Text as a double-quoted YAML scalar on one line, as for the front matter of Markdown."""
    quoted = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_yaml_character(each) for each in quoted) + '"'


def csv_cell(value: object) -> str:
    """A cell of a CSV file that people open: text that a spreadsheet would compute gets a `'`.

    Numbers stay as they are; control characters are visible, so that a row is a line. The csv
    module adds quotes and doubles the ones inside.
    """
    text = "" if value is None else one_line(str(value))
    start = text.lstrip(" \u00a0\"'")
    if text.startswith(_FORMULA) or start.startswith(_FORMULA):
        return text if _NUMBER.fullmatch(text) else f"'{text}"
    return text


def _visible(each: str) -> str:
    if each in _SHORT:
        return _SHORT[each]
    if unicodedata.category(each) in ("Cc", "Cs") or each in _INVISIBLE:
        return f"\\x{ord(each):02x}" if ord(each) < 0x100 else f"\\u{ord(each):04x}"
    return each


def _printable(text: str) -> str:
    """Text in which line breaks and tabs stay and other control characters are visible."""
    if text.isprintable():
        return text
    return "".join(each if each in "\n\r\t" else _visible(each) for each in text)


def _escaped_markdown(match: re.Match[str]) -> str:
    # entities for HTML and for the bar, which some dialects do not take with a backslash
    return {"|": "&#124;"}.get(match[0]) or (
        html.escape(match[0]) if match[0] in "<>&" else f"\\{match[0]}"
    )


def _yaml_character(each: str) -> str:
    code = ord(each)
    if each.isprintable() and not 0xD800 <= code < 0xE000 and each != "\ufeff":
        return each
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
