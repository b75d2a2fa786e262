"""Animate's networks for a face, which diffusers cuts otherwise than official files.

There the keys and the values of a face block have a matrix each (official: one, keys first),
biases of the motion encoder are vectors (official: (1, C, 1, 1)), and the kernels of its low-pass
filters, which are constants, are not stored. `joined` makes of them one tensor for each official
one, `split` the reverse; a key table gives the names.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from wanctl.checkpoint.files.lazy_tensors import LazyTensor
from wanctl.model.dit.animate.motion import LINEAR_LAYERS, blur_kernel

T = TypeVar("T")
Rows = tuple[tuple[str, str], ...]

_CONVS, _BLOCKS = "motion_encoder.enc.net_app.convs", "motion_encoder.res_blocks"
_HALF = re.compile(r"(.*\bface_adapter\.\d+\.to_)([kv])(\.weight|\.bias)$")
_WHOLE = re.compile(r"(.*\bface_adapter\.\d+\.to_)kv(\.weight|\.bias)$")
_BIAS = re.compile(r"(?:.*\.)?motion_encoder\..*act_fn\.bias$")
_FILTERED = re.compile(r"((?:.*\.)?motion_encoder\.res_blocks\.\d+\.conv(?:2|_skip))\.weight$")
_KERNEL = re.compile(r"motion_encoder\..*\.kernel$")
_FACE_ROWS: Rows = (
    *(
        (f"face_adapter.fuser_blocks.N.{ours}", f"face_adapter.N.{theirs}")
        for ours, theirs in (
            ("linear1_q", "to_q"), ("linear1_kv", "to_kv"), ("linear2", "to_out"),
            ("q_norm", "norm_q"), ("k_norm", "norm_k"),
        )
    ),
    *((f"face_encoder.{n}.conv", f"face_encoder.{n}") for n in ("conv1_local", "conv2", "conv3")),
    *((f"motion_encoder.enc.fc.{n}", f"motion_encoder.motion_network.{n}")
      for n in range(LINEAR_LAYERS)),
    ("motion_encoder.dec.direction.weight", "motion_encoder.motion_synthesis_weight"),
    (f"{_CONVS}.0.0", "motion_encoder.conv_in"),
    (f"{_CONVS}.0.1", "motion_encoder.conv_in.act_fn"),
)  # fmt: skip
_BLOCK_ROWS: Rows = (
    ("conv1.0", "conv1"),
    ("conv1.1", "conv1.act_fn"),
    ("conv2.0.kernel", "conv2.kernel"),
    ("conv2.1", "conv2"),
    ("conv2.2", "conv2.act_fn"),
    ("skip.0.kernel", "conv_skip.kernel"),
    ("skip.1", "conv_skip"),
)


def animate_rows(names: Iterable[str]) -> Rows:
    """Rows (official, joined diffusers name) of the networks for a face; none without them.

    Args:
        names: of the transformer's tensors, in either layout; they give the number of blocks.
    """
    found = {
        int(match[1]) + bool(match[0].startswith(_BLOCKS))
        for name in names
        if (match := re.match(rf"(?:{_CONVS}|{_BLOCKS})\.(\d+)\.conv1\.", name))
    }
    if not found:
        return ()
    blocks = tuple(
        (f"{_CONVS}.{number}.{ours}", f"{_BLOCKS}.{number - 1}.{theirs}")
        for number in sorted(found)
        for ours, theirs in _BLOCK_ROWS
    )
    return (*_FACE_ROWS, *blocks, (f"{_CONVS}.{max(found) + 1}", "motion_encoder.conv_out"))


@dataclass(frozen=True)
class Join(Generic[T]):
    """How what stands for tensors is joined.

    Attributes:
        pair: two of the same shape to one, along the first dimension.
        column: a vector to (1, C, 1, 1).
        kernel: of a low-pass filter before the convolution that is given.
    """

    pair: Callable[[T, T], T]
    column: Callable[[T], T]
    kernel: Callable[[T], T]

    def __call__(self, stored: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
        """(name, each) of joined tensors; of other networks what is stored, as it is.

        A half without the other comes last, under its own name.
        """
        halves: dict[str, tuple[str, T]] = {}
        for name, each in stored:
            if half := _HALF.match(name):
                whole = f"{half[1]}kv{half[3]}"
                if whole not in halves:
                    halves[whole] = name, each
                    continue
                other = halves.pop(whole)[1]
                yield whole, self.pair(*((other, each) if half[2] == "v" else (each, other)))
            elif _BIAS.match(name):
                yield name, self.column(each)
            else:
                yield name, each
                if filtered := _FILTERED.match(name):
                    yield f"{filtered[1]}.kernel", self.kernel(each)
        yield from halves.values()


def is_half(name: str) -> bool:
    """Whether a stored tensor is joined with another one."""
    return bool(_HALF.match(name))


Shape = tuple[int, ...]
join_shapes = Join[Shape](
    lambda a, b: (a[0] + b[0], *a[1:]) if a[1:] == b[1:] else (a[0] + b[0], 0),
    lambda shape: (1, *shape, 1, 1),
    lambda _: tuple(blur_kernel().shape),
)
join_tensors = Join[Tensor](
    lambda a, b: torch.cat((a, b)),
    lambda bias: bias.reshape(1, -1, 1, 1),
    lambda weight: blur_kernel().to(weight),
)
join_lazy = Join[LazyTensor](
    lambda a, b: LazyTensor(
        join_shapes.pair(a.shape, b.shape), a.dtype, lambda: torch.cat((a.read(), b.read()))
    ),
    lambda bias: bias.map(join_shapes.column(bias.shape), lambda t: t.reshape(1, -1, 1, 1)),
    lambda weight: LazyTensor(
        join_shapes.kernel(weight.shape), weight.dtype, lambda: blur_kernel().to(weight.dtype)
    ),
)


def split_lazy(joined: Iterable[tuple[str, LazyTensor]]) -> Iterator[tuple[str, LazyTensor]]:
    """(diffusers name, tensor) as diffusers cuts them, of joined tensors under its names."""
    for name, lazy in joined:
        if whole := _WHOLE.match(name):
            shape = (lazy.shape[0] // 2, *lazy.shape[1:])
            for number, half in enumerate("kv"):
                piece = lazy.map(shape, lambda t, number=number: t.chunk(2)[number].contiguous())
                yield f"{whole[1]}{half}{whole[2]}", piece
        elif _BIAS.match(name):
            yield name, lazy.map((lazy.count,), lambda t: t.flatten())
        elif not _KERNEL.match(name):
            yield name, lazy
