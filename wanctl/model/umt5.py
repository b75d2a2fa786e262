"""umT5, the text encoder of every published Wan model, through transformers.

Imports transformers, which is slow; `text.py` imports this module only when umT5 is asked for.

Shapes: S tokens, E width.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from wanctl.model.components import weight_files
from wanctl.model.layouts import TEXT_KEYS, to_diffusers
from wanctl.model.tensors import (
    WeightsError,
    check_tensors,
    iterate_tensors,
    read_config,
    tensor_shapes,
)

SHARED = "shared.weight"
# transformers keeps the embedding under two names and does not tie them for this model; a file
# holds one of them, or both.
TWIN = "encoder.embed_tokens.weight"


class UMT5:
    """Token ids to the last layer's normed hidden states."""

    def __init__(self, model: UMT5EncoderModel) -> None:
        self._model = model
        self.width: int = model.config.d_model

    def __call__(self, ids_1S: Tensor) -> Tensor:
        """(1, S) integer ids to (1, S, E) in the weights' dtype."""
        return self._model(input_ids=ids_1S).last_hidden_state


def load_umt5(path: Path, device: torch.device, dtype: torch.dtype) -> tuple[UMT5, list[Path]]:
    """Load the published `.pth`, or a folder as transformers writes it; also the files read.

    Raises:
        WeightsError: files are missing, or their tensors are not those of the model.
    """
    files = [path] if path.is_file() else list(weight_files(path, "model") or ())
    if not files:
        raise WeightsError(f"{path}: holds no model.safetensors")
    stored = {name: shape for file in files for name, shape in tensor_shapes(file).items()}
    names = to_diffusers(stored, TEXT_KEYS)
    shapes = {names[name]: shape for name, shape in stored.items()}
    if path.is_file():
        config = config_from_tensors(shapes, str(path))
    else:
        config = UMT5Config.from_dict(read_config(path / "config.json"))
    with torch.device("meta"):
        model = UMT5EncoderModel(config)
    embedding = SHARED if SHARED in shapes else TWIN
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_tensors(
        shapes | {n: shapes.get(embedding, ()) for n in (SHARED, TWIN)}, expected, str(files[0])
    )
    tensors = {
        names[name]: tensor.to(device, dtype)
        for file in files
        for name, tensor in iterate_tensors(file)
    }
    tensors[SHARED] = tensors[TWIN] = tensors[embedding]
    model.load_state_dict(tensors, strict=True, assign=True)
    assert torch.equal(model.shared.weight[:8], model.encoder.embed_tokens.weight[:8])
    return UMT5(model.eval()), files


def config_from_tensors(shapes: dict[str, tuple[int, ...]], where: str) -> UMT5Config:
    """Sizes of an encoder that comes without a config.

    Raises:
        WeightsError: a telling tensor is missing.
    """
    first = "encoder.block.0.layer"
    try:
        vocab_size, d_model = shapes[SHARED]
        buckets, heads = shapes[f"{first}.0.SelfAttention.relative_attention_bias.weight"]
        inner = shapes[f"{first}.0.SelfAttention.q.weight"][0]
        d_ff = shapes[f"{first}.1.DenseReluDense.wi_0.weight"][0]
    except KeyError as error:
        raise WeightsError(f"{where}: no tensor {error}; not a umT5 encoder") from None
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


def sentencepiece_tokenizer(folder: Path, text_len: int) -> Callable[[str], list[int]]:
    """A tokenizer stored as a sentencepiece model only; transformers converts it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda prompt: tokenizer(prompt, truncation=True, max_length=text_len)["input_ids"]
