"""The main subject of a window, found by colour, motion and place without a network.

In the middle frame: what differs in colour from the frame's border, what moves otherwise than the
frame as a whole, and what is near the centre; grabCut draws the outline. Optical flow carries it to
the other frames. It is right often enough to give masks and references the outlines of things; it
is no substitute for a detector where labels matter.

Shapes: T frames, H/W pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Longer side at which a subject is searched, pixels: outlines are then a few pixels off at 832.
_LONGER_SIDE = 160
# Share of the frame that a subject may take (VACE's data drops too small and too large ones).
_AREA = (0.015, 0.55)
# Share of the frames in which it has to be visible, and its smallest share of the frame there.
_VISIBLE_FRAMES, _VISIBLE_AREA = 0.6, 0.005
_MOTION_FRAMES = 4
_GRABCUT_ROUNDS = 4
_BORDER_COLOURS = 8
_COLOUR_NOISE = 20.0  # in 8-bit Lab


@dataclass(frozen=True)
class Subject:
    """A region followed through a window.

    Attributes:
        masks: (T, H, W) bool.
    """

    masks: np.ndarray

    def box(self, frame: int) -> tuple[int, int, int, int] | None:
        """(left, top, right, bottom) in pixels, the last two exclusive; None where it is not."""
        rows = np.flatnonzero(self.masks[frame].any(axis=1))
        columns = np.flatnonzero(self.masks[frame].any(axis=0))
        if not len(rows):
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def find_subject(frames: np.ndarray, seed: int) -> Subject | None:
    """Find and follow the main subject; None where nothing stands out.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        seed: of OpenCV's random numbers, which clustering and grabCut use.
    """
    small = _smaller(frames)
    middle = len(small) // 2
    outline = _outline(small, middle, seed)
    if outline is None:
        return None
    masks = _followed(small, middle, outline)
    shares = masks.mean(axis=(1, 2))
    if (shares >= _VISIBLE_AREA).mean() < _VISIBLE_FRAMES:
        return None
    return Subject(_larger(masks, frames.shape[1:3]))


def follow_box(
    frames: np.ndarray, box: tuple[float, float, float, float], margin: float = 0.0
) -> np.ndarray:
    """Move a box of the first frame along with the median motion of the pixels inside.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        box: (left, top, right, bottom) as shares of the frame.
        margin: how close to the frame's border it may come, as a share of the sides.

    Returns:
        (T, 4) boxes of the same size as shares of the frame, inside it.
    """
    small = _smaller(frames)
    height, width = small.shape[1:3]
    boxes = np.array([box] * len(frames), float)
    size = boxes[0, 2:] - boxes[0, :2]
    for t in range(1, len(small)):
        left, top, right, bottom = (boxes[t - 1] * (width, height, width, height)).astype(int)
        moved = _flow(small[t - 1], small[t])[top : bottom + 1, left : right + 1]
        shift = np.median(moved.reshape(-1, 2), axis=0) / (width, height)
        corner = (boxes[t - 1, :2] + shift).clip(margin, 1 - margin - size)
        boxes[t] = (*corner, *(corner + size))
    return boxes


def _smaller(frames: np.ndarray) -> np.ndarray:
    height, width = frames.shape[1:3]
    scale = min(1.0, _LONGER_SIDE / max(height, width))
    if scale == 1.0:
        return frames
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in frames])


def _larger(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Soft (T, h, w) masks as (T, H, W) bool."""
    resized = [cv2.resize(m, size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5 for m in masks]
    return np.stack(resized)


def _flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W, 2) motion in pixels, right and down, from one frame to another."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, second = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (before, after))
    return dis.calc(first, second, np.zeros((*first.shape, 2), np.float32))


def _outline(small: np.ndarray, middle: int, seed: int) -> np.ndarray | None:
    """The subject of one frame, (h, w) bool."""
    cv2.setRNGSeed(seed & 0x7FFFFFFF)  # of this thread
    salient = _saliency(small, middle)
    grey = (255 * salient / max(float(salient.max()), 1e-6)).astype(np.uint8)
    _, white = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    white = cv2.morphologyEx(white, cv2.MORPH_CLOSE, cv2.morphologyEx(white, cv2.MORPH_OPEN, pen))
    region = _largest(white, salient)
    if region is None:
        return None
    # certain inside what stands out most, certain outside at the border where it does not
    labels = np.where(cv2.dilate(region, pen, iterations=3), cv2.GC_PR_BGD, cv2.GC_BGD)
    labels[region > 0] = cv2.GC_PR_FGD
    labels[(region > 0) & (salient > np.quantile(salient[region > 0], 0.6))] = cv2.GC_FGD
    labels = labels.astype(np.uint8)
    if (labels == cv2.GC_BGD).any():
        models = np.zeros((2, 1, 65))
        cv2.grabCut(small[middle], labels, (0, 0, 0, 0), models[0], models[1], _GRABCUT_ROUNDS,
                    cv2.GC_INIT_WITH_MASK)  # fmt: skip
    cut = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    found = _largest(cv2.morphologyEx(cut, cv2.MORPH_OPEN, pen), salient)
    return None if found is None else found > 0


def _saliency(small: np.ndarray, middle: int) -> np.ndarray:
    """(h, w) fp64, how much a pixel stands out: distance from the border's colours, and motion."""
    height, width = small.shape[1:3]
    lab = cv2.cvtColor(small[middle], cv2.COLOR_RGB2LAB).astype(np.float32)
    ring = np.ones((height, width), bool)
    edge = max(2, min(height, width) // 12)
    ring[edge:, edge:-edge] = False  # people and things stand on the lower border
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    count = min(_BORDER_COLOURS, int(ring.sum()))
    _, _, colours = cv2.kmeans(lab[ring], count, None, stop, 1, cv2.KMEANS_PP_CENTERS)  # pyright: ignore[reportCallIssue, reportArgumentType]
    colour = np.linalg.norm(lab[:, :, None] - colours, axis=3).min(axis=2)
    later = min(len(small) - 1, middle + _MOTION_FRAMES)
    motion = np.zeros((height, width))
    if later > middle:
        moved = _flow(small[middle], small[later])
        motion = np.linalg.norm(moved - np.median(moved.reshape(-1, 2), axis=0), axis=2)
        motion = (motion / max(float(np.quantile(motion, 0.98)), 2.0)).clip(0, 1)
    colour = (colour / max(float(np.quantile(colour, 0.98)), _COLOUR_NOISE)).clip(0, 1)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    near_centre = np.exp(-(x**2 + y**2) / (2 * 0.6**2))
    return cv2.GaussianBlur((colour + motion) * near_centre, (0, 0), 2.0)


def _largest(white: np.ndarray, salient: np.ndarray) -> np.ndarray | None:
    """The component that stands out most in all, (h, w) uint8; None where it has no proper size."""
    count, labels = cv2.connectedComponents(white)
    sums = np.bincount(labels.ravel(), salient.ravel(), count)[1:]
    if not len(sums):
        return None
    region = (labels == 1 + int(sums.argmax())).astype(np.uint8)
    return region if _AREA[0] <= region.mean() <= _AREA[1] else None


def _followed(small: np.ndarray, middle: int, outline: np.ndarray) -> np.ndarray:
    """Soft (T, h, w) fp32 masks: the outline carried from frame to frame, both ways."""
    masks = np.empty(small.shape[:3], np.float32)
    masks[middle] = outline
    height, width = outline.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for step, frames in ((1, range(middle + 1, len(small))), (-1, range(middle - 1, -1, -1))):
        for t in frames:
            back = _flow(small[t], small[t - step])
            masks[t] = cv2.remap(masks[t - step], x + back[..., 0], y + back[..., 1],
                                 cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return masks
