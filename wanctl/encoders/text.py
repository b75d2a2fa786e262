"""Prompts to embeddings.

An encoder returns the hidden states of a prompt's own tokens and zero rows after them. The zeros
matter: the transformer attends to all rows and was trained with zeros there, not with the hidden
states of padding.

Shapes: B prompts, S text rows, E text width.
"""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import ftfy
import torch
from tokenizers import Tokenizer
from torch import Tensor

from wanctl.checkpoint.files.tensor_files import WeightsError, fingerprint
from wanctl.checkpoint.find import Components, find_components
from wanctl.encoders.minilm import load_minilm, minilm_folder
from wanctl.errors import unknown
from wanctl.log import log

Kind = Literal["umt5", "minilm"]
KINDS = ("umt5", "minilm")

CUTS_LOGGED = 5
Tokenize = Callable[[str], tuple[list[int], int]]
"""Cleaned prompt -> at most `text_len` ids, and the number of its tokens."""

# Part of every key: increase it when `clean_prompt` changes, so that no stale cache is used.
CLEANING_VERSION = "1"


class TextEncoder(Protocol):
    """The interface of a text encoder for training and sampling."""

    key: str
    """Changes when weights, tokenizer or cleaning change; names the cache of embeddings."""
    text_len: int
    dim: int
    blocks: int
    """Number of calls of `on_block` by one `encode`."""
    cut: dict[str, int]
    """Prompt -> number of its tokens, of the prompts that were cut to `text_len` tokens."""

    def encode(self, prompts: Sequence[str], on_block: Callable[[], None] | None = None) -> Tensor:
        """Embed prompts: (B, text_len, dim) fp32, zero rows after the last token."""
        ...


class Network(Protocol):
    """Token ids, (1, S) of each prompt, to hidden states, (1, S, E) of each."""

    width: int
    blocks: int

    def __call__(
        self, prompts: Sequence[Tensor], on_block: Callable[[], None] | None = None
    ) -> Sequence[Tensor]:
        """`on_block` is called `blocks` times."""
        ...


class TokenEncoder:
    """Cleans and tokenises, runs the network on the tokens and pads with zero rows.

    Each prompt runs by itself and without padding: masked keys have a weight of exactly 0, so
    leaving them out changes no number and saves the work of 512 rows for a prompt of 20.
    """

    def __init__(
        self,
        key: str,
        tokenize: "Tokenize",
        network: Network,
        *,
        text_len: int,
        device: torch.device,
    ) -> None:
        self.key = key
        self.text_len = text_len
        self.dim = network.width
        self.blocks = network.blocks
        self.cut: dict[str, int] = {}
        self._tokenize = tokenize
        self._network = network
        self._device = device

    @torch.inference_mode(False)
    @torch.no_grad()
    def encode(self, prompts: Sequence[str], on_block: Callable[[], None] | None = None) -> Tensor:
        """Embed prompts, (B, text_len, dim) fp32; longer prompts are cut, with a warning."""
        rows_BSE = torch.zeros(len(prompts), self.text_len, self.dim, device=self._device)
        ids = [self._ids(prompt) for prompt in prompts]
        states = self._network([torch.tensor([i], device=self._device) for i in ids], on_block)
        for row, states_1SE in zip(rows_BSE, states, strict=True):
            row[: states_1SE.shape[1]] = states_1SE[0].float()
        return rows_BSE

    def _ids(self, prompt: str) -> list[int]:
        ids, num_tokens = self._tokenize(clean_prompt(prompt))
        if num_tokens > self.text_len and prompt not in self.cut:
            self.cut[prompt] = num_tokens
            warn_of_cut(prompt, num_tokens, self.text_len, len(self.cut))
        return ids


def warn_of_cut(prompt: str, num_tokens: int, text_len: int, number: int) -> None:
    """Warn that the end of a prompt is not read; of many prompts, every tenfold is told.

    Args:
        prompt: the text.
        num_tokens: its tokens.
        text_len: how many of them are read.
        number: how many prompts have been cut so far, this one included.
    """
    if number <= CUTS_LOGGED or str(number).strip("0") == "1":
        log.warning(
            "a prompt has %d tokens and the model reads %d: the last %d are cut (cut so far: %d "
            "prompts): %.60r ...",
            num_tokens, text_len, num_tokens - text_len, number, prompt,
        )  # fmt: skip


def load_text_encoder(
    kind: Kind | str,
    source: str | Path | Components | None,
    *,
    text_len: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep: bool = True,
) -> TextEncoder:
    """Load a text encoder and its tokenizer.

    Args:
        kind: `umt5` (every published Wan model) or `minilm` (packaged; the demo's).
        source: model folder, hub id or components; `minilm` takes none.
        text_len: rows of the result; longer prompts are truncated.
        device: where it runs.
        dtype: of its weights; the published umT5 file is bf16.
        keep: whether its weights stay in memory; else every call of `encode` reads them block by
            block, once for all its prompts, and holds at most one block.

    Raises:
        WeightsError: no such kind, or its files are missing or incomplete.
    """
    device = torch.device(device)
    if kind == "minilm":
        folder = minilm_folder()
        network, files = load_minilm(folder, device), [folder / "model.safetensors"]
        tokenizer = folder / "tokenizer.json"
    elif kind == "umt5":
        # transformers takes about 5 s to import, which the demo's encoder need not pay.
        from wanctl.encoders.umt5 import load_umt5  # noqa: PLC0415

        parts = source if isinstance(source, Components) else find_components(source or "")
        if not parts.text_encoder or not parts.tokenizer:
            raise WeightsError(
                f"{parts.root}: holds no text encoder; need models_t5_umt5-xxl-enc-bf16.pth with "
                "google/umt5-xxl/, or text_encoder/ with tokenizer/; "
                "say `--set model.text_weights=DIR` if they lie elsewhere"
            )
        network, files = load_umt5(parts.text_encoder, device, dtype)
        if keep:
            network.keep()
        tokenizer = parts.tokenizer
    else:
        raise WeightsError(f"text encoder: {unknown('kind', kind, KINDS)}")
    tokenize, tokenizer_files = load_tokenizer(tokenizer, text_len)
    key = encoder_key(kind, [*files, *tokenizer_files], text_len, dtype)
    return TokenEncoder(key, tokenize, network, text_len=text_len, device=device)


def clean_prompt(prompt: str) -> str:
    """The official cleaning: fix the encoding, unescape HTML twice, one space between words.

    Fixing is not cosmetic: it turns full-width punctuation, of which the default negative prompt
    is full, into ASCII, which tokenises differently.
    """
    cleaned = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", cleaned).strip()


def load_tokenizer(path: Path, text_len: int) -> tuple[Tokenize, list[Path]]:
    """A function from cleaned prompt to ids, and the files behind it.

    `tokenizer.json` is used unchanged: transformers 5 rebuilds T5 tokenizers from their
    vocabulary and would apply its own normaliser instead of the stored one.

    Raises:
        WeightsError: the folder holds no tokenizer.
    """
    stored = path / "tokenizer.json" if path.is_dir() else path
    if stored.is_file():
        tokenizer = Tokenizer.from_file(str(stored))
        tokenizer.no_padding()
        tokenizer.enable_truncation(text_len)
        return partial(_encode, tokenizer, text_len), [stored]
    pieces = sorted(path.glob("*.model"))
    if not pieces:
        raise WeightsError(f"{path}: holds no tokenizer; need tokenizer.json or spiece.model")
    from wanctl.encoders.umt5 import sentencepiece_tokenizer  # noqa: PLC0415

    return sentencepiece_tokenizer(path, text_len), pieces


def _encode(tokenizer: Tokenizer, text_len: int, prompt: str) -> tuple[list[int], int]:
    ids = tokenizer.encode(prompt).ids
    if len(ids) < text_len:
        return ids, len(ids)
    tokenizer.no_truncation()
    num_tokens = len(tokenizer.encode(prompt).ids)
    tokenizer.enable_truncation(text_len)
    return ids, num_tokens


def encoder_key(kind: str, files: Iterable[Path], text_len: int, dtype: torch.dtype) -> str:
    """The `TextEncoder.key`: a hash of weights, tokenizer, dtype and cleaning."""
    about = f"{kind} {text_len} {dtype} {CLEANING_VERSION}"
    return f"{kind}-{fingerprint(files, about=about)[:12]}"
