"""umT5, the text encoder of every published Wan model, by transformers.

Imports transformers, which is slow; `text.py` imports this module only for umT5.

The encoder is 11.4 GB in bf16 and 22.7 GB in fp32: more than many GPUs and hosts have, for one
second of computation. So sampling reads its files block by block and holds one block at a time.

Shapes: S tokens, E width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from wanctl.checkpoint.files.config_values import compare_sizes
from wanctl.checkpoint.files.finite import check_finite_weight
from wanctl.checkpoint.files.folders import weight_files
from wanctl.checkpoint.files.scaled_fp8 import dequantize, is_scale_key, read_scales
from wanctl.checkpoint.files.tensor_files import (
    WeightsError,
    check_tensors,
    read_tensors,
    tensor_shapes,
)
from wanctl.checkpoint.key_tables import TEXT_KEYS, VOCABULARY, to_diffusers
from wanctl.checkpoint.prefixes import TEXT_ENCODER, plain_names
from wanctl.encoders.stated_config import read_stated_config

SHARED = "shared.weight"
# transformers keeps the embedding under two names and does not tie them for this model; a file
# holds one of them, or both.
EMBEDDING_COPY = "encoder.embed_tokens.weight"
NORM = "encoder.final_layer_norm."


class UMT5:
    """Token ids to the last layer's normed hidden states.

    Args:
        model: on the meta device.
        files: with its weights.
        names: name in the files -> name in the model.
        scales: name in the files -> factor of a weight in fp8.
        device: where it runs.
        dtype: of its weights.
    """

    def __init__(
        self,
        model: UMT5EncoderModel,
        files: Sequence[Path],
        names: Mapping[str, str],
        scales: Mapping[str, Tensor],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._stack = model.encoder
        self._files = files
        self._scales = scales
        self._stored = {name: stored for stored, name in names.items()}
        self._device = device
        self._dtype = dtype
        self._embedding: Tensor | None = None
        self.width: int = model.config.d_model
        self.blocks: int = model.config.num_layers

    def keep(self) -> "UMT5":
        """Load all weights and keep them, for many calls."""
        for prefix, part in self._parts():
            self._fill(part, prefix)
        name, rows = self._embedding_rows()
        self._embedding = dequantize(name, rows, self._scales).to(self._device, self._dtype)
        return self

    def __call__(
        self, prompts: Sequence[Tensor], on_block: Callable[[], None] | None = None
    ) -> list[Tensor]:
        """Hidden states of several prompts; each block is read once for all of them.

        Args:
            prompts: (1, S) integer ids, each S its own.
            on_block: called after each block.

        Returns:
            (1, S, E) of each, in the weights' dtype.
        """
        states = self._embedded(prompts)
        for prefix, part in self._parts():
            with self._filled(part, prefix):
                states = [_hidden(part(state)) for state in states]
            if on_block and prefix != NORM:
                on_block()
        return states

    def _embedded(self, prompts: Sequence[Tensor]) -> list[Tensor]:
        if self._embedding is not None:
            return [F.embedding(ids.to(self._device), self._embedding) for ids in prompts]
        name, rows = self._embedding_rows()
        states = [dequantize(name, rows[ids.cpu()], self._scales) for ids in prompts]
        return [state.to(self._device, self._dtype) for state in states]

    def _parts(self) -> Iterator[tuple[str, nn.Module]]:
        for number, block in enumerate(self._stack.block):
            yield f"encoder.block.{number}.", block
        yield NORM, self._stack.final_layer_norm

    @contextmanager
    def _filled(self, part: nn.Module, prefix: str) -> Iterator[None]:
        if self._embedding is not None:
            yield
            return
        self._fill(part, prefix)
        yield
        part.to("meta")

    def _fill(self, part: nn.Module, prefix: str) -> None:
        names = {s: n.removeprefix(prefix) for n, s in self._stored.items() if n.startswith(prefix)}
        # A copy: the mapped file is closed when the next part is read.
        tensors = {
            names[stored]: dequantize(stored, tensor, self._scales).to(
                self._device, self._dtype, copy=True
            )
            for stored, tensor in read_tensors(self._files, names)
        }
        for name, tensor in tensors.items():
            check_finite_weight(f"{prefix}{name}", tensor, self._files[0])
        part.load_state_dict(tensors, strict=True, assign=True)

    def _embedding_rows(self) -> tuple[str, Tensor]:
        """The stored name and table of the embedding, mapped: only the rows used are read."""
        name = self._stored[SHARED if SHARED in self._stored else EMBEDDING_COPY]
        [entry] = read_tensors(self._files, {name})
        return entry


def load_umt5(path: Path, device: torch.device, dtype: torch.dtype) -> tuple[UMT5, list[Path]]:
    """Open the published `.pth`, or a folder as transformers writes it.

    Returns:
        The encoder without weights, and its files.

    Raises:
        WeightsError: files are missing, or their tensors are not those of the model.
    """
    files = [path] if path.is_file() else list(weight_files(path, "model") or ())
    if not files:
        raise WeightsError(f"{path}: holds no model.safetensors")
    all_shapes = {name: shape for file in files for name, shape in tensor_shapes(file).items()}
    stored = {
        n: shape for n, shape in all_shapes.items() if n != VOCABULARY and not is_scale_key(n)
    }
    plain = plain_names(stored, TEXT_ENCODER, str(files[0]))
    renamed = to_diffusers(plain.values(), TEXT_KEYS)
    names = {name: renamed[short] for name, short in plain.items()}
    stored = {name: stored[name] for name in names}
    shapes = {names[name]: shape for name, shape in stored.items()}
    if path.is_file():
        config = config_from_tensors(shapes, str(path))
    else:
        config = _stated_config(path / "config.json", shapes)
    with torch.device("meta"):
        model = UMT5EncoderModel(config)
    embedding = SHARED if SHARED in shapes else EMBEDDING_COPY
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_tensors(
        shapes | {n: shapes.get(embedding, ()) for n in (SHARED, EMBEDDING_COPY)},
        expected,
        str(files[0]),
    )
    return UMT5(model.eval(), files, names, read_scales(files, all_shapes), device, dtype), files


def _stated_config(path: Path, shapes: dict[str, tuple[int, ...]]) -> UMT5Config:
    """The config beside the weights, whose sizes are those of the tensors.

    Raises:
        WeightsError: not valid, or of another model.
    """
    config = read_stated_config(UMT5Config, path, "umT5")
    embedding = shapes.get(SHARED) or shapes.get(EMBEDDING_COPY, ())
    stored = config_from_tensors(shapes | {SHARED: embedding}, str(path))
    keys = ("num_layers", "d_model", "d_ff", "num_heads", "d_kv", "vocab_size")
    compare_sizes(
        {key: getattr(config, key) for key in keys},
        {key: getattr(stored, key) for key in keys},
        str(path),
    )
    return config


def _hidden(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The hidden states that a block returns; older releases of transformers return a tuple."""
    return output[0] if isinstance(output, tuple) else output


def config_from_tensors(shapes: dict[str, tuple[int, ...]], where: str) -> UMT5Config:
    """Sizes of an encoder that comes without a config.

    Raises:
        WeightsError: a tensor that gives a size is missing.
    """
    first = "encoder.block.0.layer"
    try:
        vocab_size, d_model = shapes[SHARED]
        buckets, heads = shapes[f"{first}.0.SelfAttention.relative_attention_bias.weight"]
        inner = shapes[f"{first}.0.SelfAttention.q.weight"][0]
        d_ff = shapes[f"{first}.1.DenseReluDense.wi_0.weight"][0]
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not a umT5 encoder") from None
    except (ValueError, IndexError):
        raise WeightsError(f"{where}: its tensors are not those of a umT5 encoder") from None
    layers = {name.split(".")[2] for name in shapes if name.startswith("encoder.block.")}
    return UMT5Config(
        vocab_size=vocab_size,
        d_model=d_model,
        d_kv=inner // heads,
        d_ff=d_ff,
        num_layers=len(layers),
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        feed_forward_proj="gated-gelu",
        layer_norm_epsilon=1e-6,
        dropout_rate=0.0,
    )


def sentencepiece_tokenizer(folder: Path, text_len: int) -> Callable[[str], tuple[list[int], int]]:
    """A tokenizer stored as a sentencepiece model only; transformers converts it.

    Returns:
        Prompt -> at most `text_len` ids, and the number of its tokens.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokenize(prompt: str) -> tuple[list[int], int]:
        num_tokens = len(tokenizer(prompt, verbose=False)["input_ids"])
        ids = tokenizer(prompt, truncation=True, max_length=text_len)["input_ids"]
        return ids, num_tokens

    return tokenize
