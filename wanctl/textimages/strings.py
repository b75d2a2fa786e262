"""The strings that are drawn: lines of Chinese or English."""

import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from wanctl.errors import UserError
from wanctl.textfiles import TextError, read_text, split_lines
from wanctl.textimages.characters import Alphabet, is_han

_WORD_LIST = """
about above across after again air all almost along always animal answer apple around ask autumn
away baby back bakery bank beach bear beautiful because bed before begin below best better between
big bird black blue boat body book both bread bridge bright bring brother build bus butter call
careful castle cat chair change child cinema city clean clear climb clock close cloud coffee cold
colour come corner country cross dance dark daughter day deep desk different dinner dog door down
dream drink drive dry early earth east easy eight empty engine enough evening every exit eye face
family farm fast father few field fire first fish five flower fly follow food forest forty four
fresh friend garden gate gentle ghost girl give glass go gold good grass great green grow guitar
half hall hand happy harbour head hear heart heavy help here high hill history home honey horse
hotel hour house hundred ice idea island jacket jazz journey jump just keep key kind king kitchen
knife lake lamp language large last late laugh leaf learn left letter library light lion listen
little long look lost love low lunch machine magic make man many map market matter maybe meet
middle milk minute mirror money moon more morning mother mountain museum music name near never new
next night nine noise north notice number ocean office often old one open orange other over page
paint paper park party pass peace pencil people picture place plan plant play please point pool
post power present price quick quiet quite rabbit radio rain read ready red rest rice right river
road rock room round run sale salt same sand school sea season second secret see seven shadow shape
sharp ship shirt shop short side silence silver simple sing sister six sky sleep slow small smile
snow soft some song soon south space speak spring square star station stay stone stop store storm
story street strong student sugar summer sun sweet swim table talk tall tea teacher tell ten thank
theatre these thing think thousand three through ticket tiger time today together tomorrow tonight
tower town train travel tree true turn twenty two under until up use valley very village voice wait
walk wall warm wash watch water wave way welcome west wheel when where white wide wild wind window
winter wish woman wonder wood word work world write yard year yellow yes young your zero zoo
"""
_WORDS = tuple(_WORD_LIST.split())

CORPUS_BYTES = 8 << 30
"""A larger file of the corpus is refused; its lines are held in memory."""
_KINDS = ("words", "title", "capitals", "number")


class Corpus:
    """Lines of the user's text files.

    Args:
        files: UTF-8 text.

    Raises:
        UserError: a file cannot be read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        lines: list[str] = []
        for path in files:
            try:
                text = read_text(path, CORPUS_BYTES)
            except (OSError, TextError) as error:
                raise UserError(f"text_images.corpus: {path}: not readable: {error}") from error
            lines += [unicodedata.normalize("NFC", " ".join(line.split()))
                      for line in split_lines(text)]  # fmt: skip
        self.chinese = [line for line in lines if any(map(is_han, line))]
        self.english = [line for line in lines if line and line.isascii()]

    def line(
        self, random: np.random.Generator, language: str, length: int, covered: Collection[str]
    ) -> str:
        """At most `length` characters of a corpus line; "" where the font lacks one of them."""
        lines = self.chinese if language == "zh" else self.english
        if not lines:
            return ""
        line = lines[int(random.integers(len(lines)))]
        if language == "en":
            words, text = line.split(), ""
            for word in words[int(random.integers(len(words))) :]:
                longer = f"{text} {word}".strip()
                if len(longer) > length:
                    break
                text = longer
        else:
            start = int(random.integers(max(1, len(line) - length + 1)))
            text = line[start : start + length].strip()
        return text if all(each in covered or each == " " for each in text) else ""


def chinese(random: np.random.Generator, alphabet: Alphabet, length: int) -> str:
    """Sampled characters; one string in eight ends in a number, as signs do."""
    text = "".join(alphabet.sample(random, length))
    if length > 2 and random.random() < 1 / 8:
        text = text[:-2] + str(random.integers(10, 100))
    return text


def english(random: np.random.Generator, length: int) -> str:
    """Common words, titles, capitals or numbers, at most `length` characters."""
    kind = _KINDS[int(random.choice(4, p=(0.4, 0.3, 0.2, 0.1)))]
    if kind == "number":
        return str(random.integers(1, 10 ** int(random.integers(1, min(length, 6) + 1))))
    text = ""
    for _ in range(6):
        longer = f"{text} {_WORDS[int(random.integers(len(_WORDS)))]}".strip()
        if len(longer) > length:
            continue
        text = longer
        if random.random() < 0.3:
            break
    text = text or _WORDS[int(random.integers(len(_WORDS)))][:length]
    return {"title": text.title, "capitals": text.upper}.get(kind, text.lower)()


def han_only(text: str) -> str:
    """The Chinese characters of a string: the only ones that are drawn in columns."""
    return "".join(each for each in text if is_han(each))
