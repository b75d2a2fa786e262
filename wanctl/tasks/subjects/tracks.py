"""Task `tracks`: points of the start image move along given tracks, Wan-Move.

The model is an image-to-video one that was trained on edited latents of the start image: the
latent of each point's first cell is copied to the cells that the point passes. Nothing else tells
the model of the tracks, and the negative prompt's pass gets the latents as they were.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from wanctl.diffusion.conditions import Conditions
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.model.shapes import PixelShape, valid_frames
from wanctl.model.variants import RunDefaults, VAEShape
from wanctl.tasks.image_channels import I2V, MASK_CHANNELS
from wanctl.tasks.inputs import NO_INPUTS, Encoders, Inputs, RequestedSize
from wanctl.tasks.point_tracks import PointTracks

ORDER_SEED = 0
"""Where several points are in one cell, an order drawn with this seed decides which one counts."""


class Tracks(I2V):
    """Image and point tracks to video."""

    name = "tracks"
    required_inputs = ("image", "tracks")

    def size(
        self, inputs: Inputs, requested: RequestedSize, defaults: RunDefaults, vae: VAEShape
    ) -> PixelShape:
        """As for an image, and as long as the tracks."""
        self.check(inputs)
        assert inputs.image is not None
        assert inputs.tracks is not None
        held, name = len(inputs.tracks), inputs.tracks.name
        inputs.tracks.check_start((inputs.image.shape[1], inputs.image.shape[2]))
        if requested.frames is None:
            if not valid_frames(held) or held == 1:
                raise UserError(f"tracks: {name}: has {held} frames; must be 4n+1, e.g. 81")
            if held > defaults.frames:
                raise UserError(
                    f"tracks: {name}: has {held} frames and the model makes {defaults.frames}; say "
                    f"`--set sample.frames={held}` or cut the tracks"
                )
            requested = requested._replace(frames=held)
        elif requested.frames != held and valid_frames(requested.frames):
            raise UserError(
                f"tracks: {name}: has {held} frames and sample.frames is {requested.frames}; need "
                "a place in each frame"
            )
        return super().size(inputs, requested, defaults, vae)

    def conditions(
        self,
        texts: Sequence[Tensor],
        text_len: int,
        inputs: Inputs = NO_INPUTS,
        size: PixelShape | None = None,
        encode: Encoders | None = None,
    ) -> Conditions:
        """As for an image, with its latents moved along the tracks."""
        plain = super().conditions(texts, text_len, inputs, size, encode)
        assert size is not None
        assert inputs.tracks is not None
        assert plain.channels is not None
        tracks = _on_output(inputs, size)
        edited = plain.channels[:1].clone()
        move_latents(edited[0, MASK_CHANNELS:], tracks, (size.height, size.width))
        edited = edited.expand(len(texts), -1, -1, -1, -1)
        return replace(plain, channels=edited, negative={"channels": plain.channels})


def move_latents(latents: Tensor, tracks: PointTracks, size: tuple[int, int]) -> None:
    """Copy the latent of each point's first cell to where the point is later; in place.

    Args:
        latents: (C, T, Y, X).
        tracks: in pixels of the output.
        size: (height, width) of the output.
    """
    cells, visible = tracks.cells(size)
    followed = visible[0] & visible[1:].any(axis=0)
    if lost := int((tracks.visible[1:].any(axis=0) & ~followed).sum()):
        log.warning("%s: %d of %d tracks are not followed, as they are not in the picture in the "
                    "first frame and a later one", tracks.name, lost, len(visible[0]))  # fmt: skip
    start = latents[:, 0].clone()
    for point in np.random.default_rng(ORDER_SEED).permutation(np.flatnonzero(followed)):
        row, column = cells[0, point]
        for frame in np.flatnonzero(visible[1:, point]) + 1:
            latents[:, frame, cells[frame, point, 0], cells[frame, point, 1]] = start[
                :, row, column
            ]


def _on_output(inputs: Inputs, size: PixelShape) -> PointTracks:
    """The tracks in pixels of the output, to which the image was resized, or cropped."""
    assert inputs.tracks is not None
    assert inputs.image is not None
    rows, columns = inputs.image.shape[1:]
    if not inputs.exact:
        return inputs.tracks.moved((size.width / columns, size.height / rows), (0, 0))
    scale = max(size.width / columns, size.height / rows)  # as resize_crop_lanczos does
    width, height = round(columns * scale), round(rows * scale)
    offset = ((width - size.width) // 2, (height - size.height) // 2)
    return inputs.tracks.moved((width / columns, height / rows), offset)
