"""Scale frames down to the pixels that a model is shown."""

import math

import cv2
import numpy as np

from wanctl.vlm.chat import Frames


def fit_pixels(frames: Frames, max_pixels: int) -> Frames:
    """The frames with at most `max_pixels` each; smaller ones stay as they are.

    Height and width shrink by the same factor and are rounded down, to 1 at least.
    """
    return Frames(tuple(_fit(image, max_pixels) for image in frames.images), frames.times_s)


def one_size(frames: Frames) -> Frames:
    """The frames in the size of the largest."""
    if frames.one_size:
        return frames
    height, width = max((image.shape[:2] for image in frames.images), key=lambda s: s[0] * s[1])
    return Frames(
        tuple(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
            if image.shape[:2] != (height, width)
            else image
            for image in frames.images
        ),
        frames.times_s,
    )


def _fit(image: np.ndarray, max_pixels: int) -> np.ndarray:
    height, width = image.shape[:2]
    if height * width <= max_pixels:
        return image
    factor = math.sqrt(max_pixels / (height * width))
    size = max(int(width * factor), 1), max(int(height * factor), 1)
    # the one filter of OpenCV that does not alias
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
