"""Prompts to embeddings.

An encoder returns the hidden states of a prompt's own tokens and zero rows after them. The zeros
matter: the transformer attends to all rows, and was trained with zeros there, not with whatever an
encoder makes of padding.

Shapes: B prompts, S text rows, E text width.
"""

import html
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import ftfy
import torch
from tokenizers import Tokenizer
from torch import Tensor

from wanctl.checkpoint.find import Components, find_components
from wanctl.checkpoint.tensor_files import WeightsError, fingerprint
from wanctl.encoders.minilm import load_minilm, minilm_folder
from wanctl.errors import unknown

Kind = Literal["umt5", "minilm"]
KINDS = ("umt5", "minilm")

# Part of every key: raise it when `clean_prompt` changes, so that no stale cache is read.
CLEANING_VERSION = "1"


class TextEncoder(Protocol):
    """What training and sampling know of a text encoder."""

    key: str
    """Changes when weights, tokenizer or cleaning change; names the cache of embeddings."""
    text_len: int
    dim: int
    blocks: int
    """How often `encode` calls `on_block`."""

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
    """Cleans, tokenises, runs the network on the tokens alone and fills up with zeros.

    Each prompt by itself and without padding: masked keys weigh exactly nothing, so leaving them
    out changes no number and saves the work of 512 rows for a prompt of 20.
    """

    def __init__(
        self,
        key: str,
        tokenize: Callable[[str], list[int]],
        network: Network,
        *,
        text_len: int,
        device: torch.device,
    ) -> None:
        self.key = key
        self.text_len = text_len
        self.dim = network.width
        self.blocks = network.blocks
        self._tokenize = tokenize
        self._network = network
        self._device = device

    @torch.inference_mode(False)
    @torch.no_grad()
    def encode(self, prompts: Sequence[str], on_block: Callable[[], None] | None = None) -> Tensor:
        """Embed prompts; a prompt beyond `text_len` tokens is cut there."""
        rows_BSE = torch.zeros(len(prompts), self.text_len, self.dim, device=self._device)
        ids = [self._tokenize(clean_prompt(prompt)) for prompt in prompts]
        made = self._network([torch.tensor([i], device=self._device) for i in ids], on_block)
        for row, states_1SE in zip(rows_BSE, made, strict=True):
            row[: states_1SE.shape[1]] = states_1SE[0].float()
        return rows_BSE


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
        source: model folder, hub id or found components; `minilm` takes none.
        text_len: rows of the result; longer prompts are cut.
        device: where it runs.
        dtype: of its weights; the published umT5 file is bf16.
        keep: hold its weights; else every call of `encode` reads them block by block, once for
            all its prompts, and holds no more than one block.

    Raises:
        WeightsError: no such kind, or its files are not there or not whole.
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
    """The official cleaning: mend encoding, undo HTML entities twice, one space between words.

    Mending is not cosmetic: it turns full-width punctuation, of which the default negative prompt
    is full, into ASCII, which tokenises differently.
    """
    mended = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", mended).strip()


def load_tokenizer(path: Path, text_len: int) -> tuple[Callable[[str], list[int]], list[Path]]:
    """A function from cleaned prompt to at most `text_len` ids, and the files behind it.

    `tokenizer.json` is read as it stands: transformers 5 rebuilds T5 tokenizers from their
    vocabulary and would apply its own normaliser instead of the stored one.

    Raises:
        WeightsError: the folder holds no tokenizer.
    """
    stored = path / "tokenizer.json" if path.is_dir() else path
    if stored.is_file():
        tokenizer = Tokenizer.from_file(str(stored))
        tokenizer.no_padding()
        tokenizer.enable_truncation(text_len)
        return lambda prompt: tokenizer.encode(prompt).ids, [stored]
    pieces = sorted(path.glob("*.model"))
    if not pieces:
        raise WeightsError(f"{path}: holds no tokenizer; need tokenizer.json or spiece.model")
    from wanctl.encoders.umt5 import sentencepiece_tokenizer  # noqa: PLC0415

    return sentencepiece_tokenizer(path, text_len), pieces


def encoder_key(kind: str, files: Iterable[Path], text_len: int, dtype: torch.dtype) -> str:
    """A short name for these weights and this cleaning."""
    about = f"{kind} {text_len} {dtype} {CLEANING_VERSION}"
    return f"{kind}-{fingerprint(files, about=about)[:12]}"
