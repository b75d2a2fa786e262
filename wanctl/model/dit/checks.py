"""Checks of the transformer's inputs against its sizes."""

from torch import Tensor

from wanctl.model.dit.context import PrecomputedContext
from wanctl.model.shapes import PATCH
from wanctl.model.variants import DiTShape


def check_inputs(
    shape: DiTShape,
    latents: Tensor,
    timesteps: Tensor,
    context: Tensor | PrecomputedContext,
    image: Tensor | None = None,
) -> tuple[int, int, int]:
    """Check what every network is called with; the token grid of the latents.

    Raises:
        ValueError: a size does not fit.
    """
    grid = check_latents(shape, latents, timesteps)
    check_context(shape, context, len(latents))
    if not isinstance(context, PrecomputedContext):
        check_image(shape, image, len(latents))
    return grid


def check_latents(shape: DiTShape, latents: Tensor, timesteps: Tensor) -> tuple[int, int, int]:
    """Token grid (frames, rows, columns) of (B, C, T, Y, X) latents.

    Raises:
        ValueError: a size does not fit.
    """
    if latents.ndim != 5 or latents.shape[1] != shape.in_channels:
        raise ValueError(
            f"latents: got {tuple(latents.shape)}; need (B, {shape.in_channels}, T, Y, X)"
        )
    batch, _, frames, rows, columns = latents.shape
    if rows % PATCH[1] or columns % PATCH[2]:
        raise ValueError(f"latents: got {rows}x{columns}; rows and columns must be even")
    if timesteps.shape not in ((1,), (batch,), (batch, frames), (1, frames)):
        raise ValueError(
            f"timesteps: got {tuple(timesteps.shape)}; need ({batch},), (1,) or ({batch}, {frames})"
        )
    return frames // PATCH[0], rows // PATCH[1], columns // PATCH[2]


def check_context(shape: DiTShape, context: Tensor | PrecomputedContext, batch: int) -> None:
    """Check embeddings of prompts, or their keys and values.

    Raises:
        ValueError: a size does not fit.
    """
    if isinstance(context, PrecomputedContext):
        if (len(context), len(context.blocks)) != (batch, shape.num_layers):
            raise ValueError(
                f"context: got {len(context)} prompts for {len(context.blocks)} blocks; "
                f"need {batch} for {shape.num_layers}"
            )
    elif context.ndim != 3 or context.shape[::2] != (batch, shape.text_dim):
        raise ValueError(
            f"context: got {tuple(context.shape)}; need ({batch}, S, {shape.text_dim})"
        )


def check_image(shape: DiTShape, image: Tensor | None, batch: int) -> None:
    """Check CLIP's hidden states.

    Raises:
        ValueError: they are missing, not taken, or of another size.
    """
    if (image is None) != (shape.image_dim is None):
        has = "takes no image tokens" if shape.image_dim is None else "needs image tokens"
        raise ValueError(f"image: this model {has}")
    if image is not None and (image.ndim != 3 or image.shape[::2] != (batch, shape.image_dim)):
        raise ValueError(f"image: got {tuple(image.shape)}; need ({batch}, I, {shape.image_dim})")


def check_conditions(
    shape: DiTShape,
    latents: Tensor,
    control: Tensor | None,
    rays: Tensor | None,
    reference: Tensor | None,
) -> None:
    """Check VACE's control, the rays of a camera path and a reference picture.

    Raises:
        ValueError: one is missing, not taken, or of another size.
    """
    batch, _, frames, rows, columns = latents.shape
    if (control is None) != (not shape.vace_layers):
        has = "needs a control" if shape.vace_layers else "takes no control"
        raise ValueError(f"control: this model {has}")
    pixels = rows * shape.ray_stride, columns * shape.ray_stride
    for name, tensor, taken, expected in (
        ("control", control, bool(shape.vace_layers),
         (batch, shape.vace_channels, frames, rows, columns)),
        ("rays", rays, bool(shape.camera_channels),
         (batch, shape.camera_channels, frames, *pixels)),
        ("reference", reference, bool(shape.reference_channels),
         (batch, shape.reference_channels, rows, columns)),
    ):  # fmt: skip
        if tensor is None:
            continue
        if not taken:
            raise ValueError(f"{name}: this model takes none")
        if tensor.shape != expected:
            raise ValueError(f"{name}: got {tuple(tensor.shape)}; need {expected}")
