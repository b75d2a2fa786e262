"""Captions of unrelated footage that are equal or nearly so: mixed up, or a model repeats itself.

MinHash of word triples (Broder, On the resemblance and containment of documents, 1997) with banding
(Leskovec et al., Mining of Massive Datasets, 3.4). A caption takes some 130 bytes, whatever its
length, so that a million fit into memory; groups are found after the run by sorting.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from zlib import crc32

import numpy as np

from wanctl.caption.checks.facts import Finding
from wanctl.caption.checks.language import is_chinese, tokens

# Six bands of four: a pair of resemblance 0.8 is found with probability 0.96, of 0.9 with 0.998.
_BANDS, _ROWS = 6, 4
_SHINGLE = {False: 3, True: 4}
_MIN_RESEMBLANCE = 0.75
_MIN_TOKENS = {False: 12, True: 20}
"""Shorter captions ("A dog runs on a beach.") fit many clips; they count where they are equal."""
_CHUNK = 65_536
_PRIME = np.uint64(4_294_967_311)  # the smallest above 2 ** 32


@dataclass(frozen=True)
class SimilarGroup:
    """Captions that are equal or nearly so.

    Attributes:
        ids: of the captions, in the order in which they were added.
        sources: number of different sources.
        is_exact: whether the texts are equal but for case and punctuation.
    """

    ids: tuple[int, ...]
    sources: int
    is_exact: bool

    @property
    def finding(self) -> Finding:
        """The finding on each caption of the group."""
        what = "this caption" if self.is_exact else "nearly this caption"
        reason = f"{self.sources} different sources have {what}; describe this clip alone"
        return Finding("shared", reason)


class CaptionIndex:
    """Collects captions, and finds those that several sources share.

    Args:
        min_sources: from how many different sources on a long caption is reported.
        min_sources_short: the same for short captions, which are reported where they are equal.
    """

    def __init__(self, *, min_sources: int, min_sources_short: int) -> None:
        self._min_sources, self._min_short = min_sources, min_sources_short
        random = np.random.default_rng(0)
        self._factors = random.integers(1, 2**31, _BANDS * _ROWS, dtype=np.uint64)
        self._offsets = random.integers(0, 2**31, _BANDS * _ROWS, dtype=np.uint64)
        self._signatures: list[np.ndarray] = []
        self._facts: list[np.ndarray] = []  # hash of the text in two halves, of the source; is long
        self._count = 0

    def add(self, text: str, source: str) -> int:
        """Add a caption of a clip of `source`; its number, counted from 0."""
        row = self._count % _CHUNK
        if row == 0:
            self._signatures.append(np.zeros((_CHUNK, _BANDS * _ROWS), np.uint32))
            self._facts.append(np.zeros((_CHUNK, 4), np.uint32))
        zh = is_chinese(text)
        words = tokens(text)
        self._signatures[-1][row] = self._signature(words, _SHINGLE[zh])
        # 64 bits: among a million texts some hundred pairs share 32
        content = blake2b(" ".join(words).encode(errors="replace"), digest_size=8).digest()
        is_long = len(words) >= _MIN_TOKENS[zh]
        self._facts[-1][row, :2] = np.frombuffer(content, np.uint32)
        self._facts[-1][row, 2:] = crc32(source.encode(errors="replace")), is_long
        self._count += 1
        return self._count - 1

    def groups(self) -> Iterator[SimilarGroup]:
        """Groups of captions that enough sources share, each caption in one group at most."""
        if not self._count:
            return
        signatures = np.concatenate(self._signatures)[: self._count]
        facts = np.concatenate(self._facts)[: self._count]
        label = self._labels(signatures, facts)
        order = np.argsort(label, kind="stable")
        starts = np.flatnonzero(np.diff(label[order], prepend=-1))
        for members in np.split(order, starts[1:]):
            if len(members) == 1:
                continue
            sources = len(np.unique(facts[members, 2]))
            least = self._min_sources if facts[members, 3].all() else self._min_short
            if sources >= least:
                is_exact = len(np.unique(facts[members, :2], axis=0)) == 1
                yield SimilarGroup(tuple(members.tolist()), sources, is_exact)

    def _signature(self, words: list[str], size: int) -> np.ndarray:
        """(BANDS * ROWS,) uint32 minima of the hashes of a text's shingles."""
        count = max(1, len(words) - size + 1)
        shingles = (" ".join(words[start : start + size]) for start in range(count))
        hashes = np.array([crc32(each.encode(errors="replace")) for each in shingles], np.uint64)
        mixed = (hashes[:, None] * self._factors + self._offsets) % _PRIME
        return mixed.min(axis=0).astype(np.uint32)

    def _labels(self, signatures: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """(N,) the number of the first caption of each caption's group."""
        parent = np.arange(len(signatures))
        long = np.flatnonzero(facts[:, 3])
        # equal texts first, short ones among them
        _merge(parent, facts[:, :2], np.arange(len(facts)), None)
        for band in range(_BANDS):
            columns = signatures[:, band * _ROWS : (band + 1) * _ROWS]
            _merge(parent, columns[long], long, signatures)
        while True:  # each caption points to another one of its group: follow to the first
            above = parent[parent]
            if (above == parent).all():
                return parent
            parent = above


def _merge(
    parent: np.ndarray, keys: np.ndarray, rows: np.ndarray, signatures: np.ndarray | None
) -> None:
    """Join the rows with equal keys to the first of them, where their signatures are near it.

    Args:
        parent: (N,) a row of the same group for each row, never a later one; changed in place.
        keys: (M, K) uint32.
        rows: (M,) ascending row numbers that the keys belong to.
        signatures: (N, S); None joins without comparing.
    """
    wide = np.ascontiguousarray(keys).view([("", keys.dtype)] * keys.shape[1]).ravel()
    order = np.argsort(wide, kind="stable")
    sorted_keys = wide[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = sorted_keys[1:] != sorted_keys[:-1]
    first = rows[order][np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))]
    member = rows[order]
    joined = member != first
    first, member = first[joined], member[joined]
    if signatures is not None:
        near = (signatures[first] == signatures[member]).mean(axis=1) >= _MIN_RESEMBLANCE
        first, member = first[near], member[near]
    for a, b in zip(first.tolist(), member.tolist(), strict=True):
        a, b = _root(parent, a), _root(parent, b)
        parent[max(a, b)] = min(a, b)


def _root(parent: np.ndarray, row: int) -> int:
    while parent[row] != row:
        row = int(parent[row])
    return row
