"""Whether two phrases mean the same thing: equal words, else the packaged sentence encoder."""

from functools import lru_cache

import numpy as np

from wanctl.caption.evaluation.labelled.words import normal
from wanctl.encoders.text import TextEncoder, load_text_encoder

THRESHOLD = 0.65
"""Cosine from which on two phrases mean the same.

Chosen on 50 pairs (half of them easily confused things, such as "dog" and "cat"), where it decides
88 % rightly; on 50 other pairs it finds 80 % of the synonyms, and 95 % of what it finds are some.
The pairs are in tests/unit/caption/evaluation/word_pairs.py.
"""
_TOKENS = 256


class PhraseSimilarity:
    """Compares phrases; each is embedded once."""

    def __init__(self) -> None:
        self._vectors: dict[str, np.ndarray] = {}

    def of(self, first: str, second: str) -> float:
        """Similarity in [-1, 1]: 1 where the words are the same, else the cosine of embeddings."""
        if normal(first) == normal(second):
            return 1.0
        a, b = (self._vector(each) for each in (first, second))
        return float(a @ b)

    def _vector(self, phrase: str) -> np.ndarray:
        """(384,) unit vector: the mean over the tokens."""
        if phrase not in self._vectors:
            rows = _encoder().encode([phrase])[0].numpy()
            mean = rows[np.abs(rows).sum(axis=1) > 0].mean(axis=0)
            self._vectors[phrase] = mean / np.linalg.norm(mean)
        return self._vectors[phrase]


@lru_cache(maxsize=1)
def _encoder() -> TextEncoder:
    return load_text_encoder("minilm", None, text_len=_TOKENS)
