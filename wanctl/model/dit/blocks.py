"""The parts of the transformer: block, attention, image embedding and head.

Parameter names are the published ones. A residual stream is (B, G, M, D): G groups of M tokens
that share a timestep. G is 1 where the whole video has one timestep, and the number of latent
frames where each frame has its own.

Shapes: B batch, L = G * M tokens, S text tokens, I image tokens, D width, N heads.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wanctl.model.dit.attention import Kernel, attention
from wanctl.model.dit.context import Context, KeysValues
from wanctl.model.dit.context_parallel import Attend
from wanctl.model.dit.precision import Numerics
from wanctl.model.dit.recompute import free_until_backward
from wanctl.model.dit.rope import RopeTable
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape

AttendWith = Callable[[Kernel, Tensor, Tensor, Tensor], Tensor]
"""(kernel, rotated queries, rotated keys, values) -> (B, L, N, K)."""


def run_in_weight_dtype(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a linear layer or an MLP to a tensor of another dtype; autocast still applies."""
    return layer(x.to(next(layer.parameters()).dtype))


def product_dtype(layer: nn.Module) -> torch.dtype:
    """The dtype in which a linear layer multiplies: autocast's, else that of its bias."""
    bias = layer.bias  # a quantised layer's weights have another dtype
    assert isinstance(bias, Tensor)
    device = bias.device.type
    autocast = torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if autocast else bias.dtype


class Block(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward.

    Attributes:
        recompute_pointwise: in training mode, keep no norms, rotated queries and keys nor GELU for
            the backward pass, which recomputes them; not where the block is compiled or
            checkpointed.
    """

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__()
        dim = shape.dim
        self.self_attn = Attention(shape, numerics)
        self.norm3 = nn.LayerNorm(dim, eps=shape.eps)
        self.cross_attn = Attention(shape, numerics, image=shape.image_dim is not None)
        self.ffn = nn.Sequential(
            nn.Linear(dim, shape.ffn_dim),
            nn.GELU(approximate="tanh"),
            nn.Linear(shape.ffn_dim, dim),
        )
        self.modulation = nn.Parameter(torch.empty(1, 6, dim))
        self.eps = shape.eps
        self.recompute_pointwise = False
        self._numerics = numerics
        self._compiled: Callable[..., Tensor] | None = None

    def compile_forward(self) -> None:
        """Compile the block's own computation.

        Unlike `nn.Module.compile`, which would trace the hooks that load streamed or sharded
        weights as well.
        """
        self._compiled = torch.compile(self._forward)

    def forward(
        self,
        x_BGMD: Tensor,
        e6_BG6D: Tensor,
        context: Context | KeysValues,
        rope: RopeTable,
        *beside: Any,
    ) -> Tensor:
        """Return the residual stream (B, G, M, D) after this block; in eval mode x is overwritten.

        Args:
            x_BGMD: the residual stream.
            e6_BG6D: projected time embedding: shift, scale and gate of attention and feed-forward.
            context: what the cross-attention attends to.
            rope: rotary tables of the tokens.
            beside: what else `attend_to_itself` takes.
        """
        return (self._compiled or self._forward)(x_BGMD, e6_BG6D, context, rope, *beside)

    def attend_to_itself(
        self,
        u_of: Callable[[], Tensor],
        rope: RopeTable,
        recompute: bool,
        attend: AttendWith | None = None,
    ) -> Tensor:
        """Self-attention, (B, G, M, D).

        Args:
            u_of: computes the normed tokens.
            rope: rotary tables of the tokens.
            recompute: keep no tokens for the backward pass, which computes them again.
            attend: takes the place of the kernel.
        """
        again = u_of if recompute else None
        return self.self_attn(u_of(), rope=rope, recompute=again, attend=attend)

    def _forward(
        self,
        x_BGMD: Tensor,
        e6_BG6D: Tensor,
        context: Context | KeysValues,
        rope: RopeTable,
        *beside: Any,
    ) -> Tensor:
        ops, inplace = self._numerics, not self.training
        recompute = self.recompute_pointwise and self.training and torch.is_grad_enabled()
        modulation = (self.modulation.float() + e6_BG6D)[:, :, :, None].unbind(2)
        shift_attn, scale_attn, gate_attn, shift_ffn, scale_ffn, gate_ffn = modulation

        def normed(norm: Callable[..., Tensor], layer: nn.Module, *args: Tensor) -> Tensor:
            # in the dtype of the products, so that each of them keeps the tensor and no copy of it
            return norm(*args, self.eps).to(product_dtype(layer))

        u_of = partial(normed, ops.modulated_norm, self.self_attn.q, x_BGMD, shift_attn, scale_attn)
        y_BGMD = self.attend_to_itself(u_of, rope, recompute, *beside)
        x_BGMD = ops.gated_add(x_BGMD, y_BGMD, gate_attn, inplace=inplace)

        weight, bias = self.norm3.weight, self.norm3.bias
        u_of = partial(normed, ops.norm, self.cross_attn.q, x_BGMD, weight, bias)
        y_BGMD = self.cross_attn(u_of(), context, recompute=u_of if recompute else None)
        x_BGMD = ops.gated_add(x_BGMD, y_BGMD, None, inplace=inplace)

        u_of = partial(normed, ops.modulated_norm, self.ffn[0], x_BGMD, shift_ffn, scale_ffn)
        y_BGMD = self._feed_forward(u_of(), recompute=u_of if recompute else None)
        return ops.gated_add(x_BGMD, y_BGMD, gate_ffn, inplace=inplace)

    def _feed_forward(self, u_BGMD: Tensor, recompute: Callable[[], Tensor] | None) -> Tensor:
        up, _, down = self.ffn
        hidden = up(u_BGMD)
        gelu_of = partial(self._numerics.gelu, hidden, inplace=not self.training)
        activated = gelu_of()
        y_BGMD = down(activated)
        if recompute is not None:
            free_until_backward(u_BGMD, recompute, [hidden])
            free_until_backward(activated, gelu_of, [y_BGMD])
        return y_BGMD


class Attention(nn.Module):
    """Attention with RMS-normed queries and keys: self-attention, or cross-attention to a context.

    With `image` it has separate keys and values for image tokens; the same queries attend to both,
    and the results are added.

    Attributes:
        kernel: computes the attention; set by `WanModel.attend_with`.
        attend: replaces the kernel of self-attention where processes shard the tokens; set by
            `wanctl.distributed`.
    """

    def __init__(self, shape: DiTShape, numerics: Numerics, *, image: bool = False) -> None:
        super().__init__()
        dim = shape.dim
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.o = nn.Linear(dim, dim)
        self.norm_q = nn.RMSNorm(dim, eps=shape.eps)
        self.norm_k = nn.RMSNorm(dim, eps=shape.eps)
        if image:
            self.k_img = nn.Linear(dim, dim)
            self.v_img = nn.Linear(dim, dim)
            self.norm_k_img = nn.RMSNorm(dim, eps=shape.eps)
        self.num_heads = shape.num_heads
        self.eps = shape.eps
        self._numerics = numerics
        self.kernel: Kernel = attention
        self.attend: Attend | None = None

    def forward(
        self,
        x_BGMD: Tensor,
        context: Context | KeysValues | None = None,
        rope: RopeTable | None = None,
        recompute: Callable[[], Tensor] | None = None,
        attend: AttendWith | None = None,
    ) -> Tensor:
        """(B, G, M, D) in the dtype of the products.

        Args:
            x_BGMD: tokens of the queries.
            context: of cross-attention, or its keys and values; None for self-attention.
            rope: rotary tables.
            recompute: computes x again; its memory, and that of the queries and keys, is freed
                until the backward pass. None: kept.
            attend: of self-attention: computes it in the place of the kernel.
        """
        x_BLD = x_BGMD.flatten(1, 2).to(product_dtype(self.q))
        q_BLD = self.q(x_BLD)
        q_of = partial(self._queries_or_keys, q_BLD, self.norm_q, rope)
        if context is None:
            k_BLD, v_BLD = self.k(x_BLD), self.v(x_BLD)
            k_of = partial(self._queries_or_keys, k_BLD, self.norm_k, rope)
            q, k = q_of(), k_of()
            v = self._heads(v_BLD)
            if attend is None:
                y_BLNK = (self.attend or self.kernel)(q, k, v)
            else:
                y_BLNK = attend(self.kernel, q, k, v)
            if recompute is not None:
                free_until_backward(x_BGMD, recompute, [q_BLD, k_BLD, v_BLD])
                free_until_backward(k, k_of, [y_BLNK])
        else:
            kv = context if isinstance(context, KeysValues) else self.project_context(context)
            q = q_of()
            y_BLNK = self._attend_to(kv, q)
            if recompute is not None:
                free_until_backward(x_BGMD, recompute, [q_BLD])
        if recompute is not None:
            free_until_backward(q, q_of, [y_BLNK])
        return self.o(y_BLNK.flatten(2)).unflatten(1, x_BGMD.shape[1:3])

    def project_context(self, context: Context) -> KeysValues:
        """Keys and values of a context, which `forward` takes in its place."""
        k, v = self._normed(self.k(context.text), self.norm_k), self._heads(self.v(context.text))
        if context.image is None:
            return KeysValues(k, v, context.padding)
        image_k = self._normed(self.k_img(context.image), self.norm_k_img)
        return KeysValues(k, v, context.padding, image_k, self._heads(self.v_img(context.image)))

    def _attend_to(self, kv: KeysValues, q: Tensor) -> Tensor:
        """Attention to the text plus, with its own softmax, to the image tokens: (B, L, N, K)."""
        if kv.padding is not None and self._numerics.weighs_padding(kv.v):
            y_BLNK = attention(q, kv.k, kv.v, kv.padding.bias)
        else:
            y_BLNK = self.kernel(q, *kv.expand())
        if kv.image_k is None or kv.image_v is None:
            return y_BLNK
        return y_BLNK + self.kernel(q, kv.image_k, kv.image_v)

    def _normed(self, x_BLD: Tensor, norm: nn.RMSNorm) -> Tensor:
        inplace = not self.training
        return self._heads(self._numerics.rms_norm(x_BLD, norm.weight, self.eps, inplace=inplace))

    def _queries_or_keys(self, x_BLD: Tensor, norm: nn.RMSNorm, rope: RopeTable | None) -> Tensor:
        """Normed and rotated heads; while training in the dtype of the products."""
        x_BLNK = self._normed(x_BLD, norm)
        if rope is not None:
            x_BLNK = self._numerics.rotate(x_BLNK, rope, inplace=not self.training)
        return x_BLNK.to(x_BLD.dtype) if self.training else x_BLNK

    def _heads(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.unflatten(2, (self.num_heads, -1))


class ImageEmbedding(nn.Module):
    """Hidden states of CLIP's vision tower -> image tokens of the cross-attention.

    Learned positions distinguish two images (first and last frame).
    """

    def __init__(self, shape: DiTShape) -> None:
        super().__init__()
        assert shape.image_dim is not None
        width = shape.image_dim
        self.proj = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, shape.dim),
            nn.LayerNorm(shape.dim),
        )
        self.emb_pos = None
        if shape.image_tokens:
            self.emb_pos = nn.Parameter(torch.zeros(1, shape.image_tokens, width))

    def forward(self, image_BIE: Tensor) -> Tensor:
        """(B, I, D) in the dtype of the products; norms are fp32."""
        norm, up, gelu, down, last_norm = self.proj
        if self.emb_pos is not None:
            image_BIE = image_BIE + self.emb_pos
        hidden = run_in_weight_dtype(up, run_in_weight_dtype(norm, image_BIE))
        hidden = run_in_weight_dtype(last_norm, down(gelu(hidden)))
        return hidden.to(down.weight.dtype)  # pyright: ignore[reportCallIssue,reportArgumentType]


class Head(nn.Module):
    """Modulated norm and projection to patches, always in fp32."""

    def __init__(self, shape: DiTShape, numerics: Numerics) -> None:
        super().__init__()
        self.head = nn.Linear(shape.dim, shape.out_channels * math.prod(PATCH))
        self.modulation = nn.Parameter(torch.empty(1, 2, shape.dim))
        self.eps = shape.eps
        self._numerics = numerics

    def forward(self, x_BGMD: Tensor, e_BGD: Tensor) -> Tensor:
        """(B, L, patch values * channels) fp32."""
        modulation = (self.modulation.float() + e_BGD[:, :, None])[:, :, :, None]
        shift, scale = modulation.unbind(2)
        u_BGMD = self._numerics.modulated_norm(x_BGMD, shift, scale, self.eps)
        with torch.autocast(x_BGMD.device.type, enabled=False):
            return run_in_weight_dtype(self.head, u_BGMD).float().flatten(1, 2)
