"""Control videos computed from plain video without a network: grey, scribble, flow; and layouts.

They look like the controls that VACE was trained on; depth and pose need networks and are passed as
a video. To add a control, write a function from frames to frames and name it in CONTROLS.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from wanctl.errors import UserError, unknown
from wanctl.tasks.vace_options import Track

Frames = Iterable[np.ndarray]
"""(H, W, 3) uint8 RGB, one after the other."""

WHITE = 255

# Flow below this many pixels per frame is noise; still footage stays white instead of showing it.
_STILL_PX = 1.0
# Hues between the six corners of the Middlebury colour wheel (Baker et al., ICCV 2007): red,
# yellow, green, cyan, blue, magenta.
_ARCS = (15, 6, 4, 11, 13, 6)
_CORNERS = np.array(
    [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255)]
)


def make_control(kind: str, frames: Frames) -> Iterator[np.ndarray]:
    """Compute the control video of a video, frame by frame.

    Raises:
        UserError: no such control.
    """
    if kind not in CONTROLS:
        raise UserError(f"vace.control: {unknown('control', kind, CONTROLS)}")
    return CONTROLS[kind](frames)


def grey(frames: Frames) -> Iterator[np.ndarray]:
    """Convert to luma in all three channels.

    The official tool swaps the weights of red and blue; here each has its own.
    """
    import cv2  # noqa: PLC0415  half a second that other tasks do not wait for

    for picture in frames:
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        yield cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB)


def scribble(frames: Frames) -> Iterator[np.ndarray]:
    """Draw dark outlines on white.

    Edges of smoothed luma, as wide as a pen's line at the frame's size. The thresholds are fixed:
    thresholds that depend on the frame would make lines flicker.
    """
    import cv2  # noqa: PLC0415  see above

    for picture in frames:
        size = max(picture.shape[:2]) / 832  # a line is drawn for the smaller canvas
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        smooth = cv2.GaussianBlur(luma, (0, 0), max(0.8, 1.6 * size))
        lines = cv2.Canny(smooth, 24, 64, L2gradient=True)
        width = max(1, round(2 * size))
        pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        drawn = cv2.GaussianBlur(cv2.dilate(lines, pen), (0, 0), max(0.4, 0.5 * size))
        yield cv2.cvtColor(WHITE - drawn, cv2.COLOR_GRAY2RGB)


def flow(frames: Frames) -> Iterator[np.ndarray]:
    """Colour-code the motion from each frame to the next; the first pair is repeated.

    The direction is the hue; the speed, as a share of the frame's fastest, is the saturation.
    A single frame is white: nothing moves.
    """
    import cv2  # noqa: PLC0415  see above

    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    before: np.ndarray | None = None
    count = 0
    for picture in frames:
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if before is not None:
            colours = flow_colours(dis.calc(before, luma, np.zeros((*luma.shape, 2), np.float32)))
            yield from (colours,) * (2 if count == 1 else 1)
        before = luma
        count += 1
    if count == 1 and before is not None:
        yield np.full((*before.shape, 3), WHITE, np.uint8)


def flow_colours(moved: np.ndarray) -> np.ndarray:
    """(H, W, 2) motion in pixels, right and down, as (H, W, 3) uint8 RGB; no motion is white."""
    speed = np.hypot(moved[..., 0], moved[..., 1])
    share = (speed / max(float(speed.max()), _STILL_PX))[..., None]
    wheel = _wheel()
    # The wheel begins with motion to the right and turns with the clock, as angles do where y
    # points down. Its last hue is a full turn, as in the published drawings.
    angle = np.arctan2(moved[..., 1], moved[..., 0]) / (2 * np.pi) % 1
    place = angle * (len(wheel) - 1)
    low = np.floor(place).astype(int)
    part = (place - low)[..., None]
    hue = (1 - part) * wheel[low] + part * wheel[(low + 1) % len(wheel)]
    return (WHITE - share * (WHITE - hue)).astype(np.uint8)


def _wheel() -> np.ndarray:
    """(55, 3) hues in equal steps of angle."""
    arcs = zip(_CORNERS, np.roll(_CORNERS, -1, axis=0), _ARCS, strict=True)
    return np.concatenate([a + (b - a) * np.arange(steps)[:, None] / steps for a, b, steps in arcs])


CONTROLS: dict[str, Callable[[Frames], Iterator[np.ndarray]]] = {
    "grey": grey,
    "scribble": scribble,
    "flow": flow,
}


def layout(tracks: Sequence[Track], frames: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Draw outlines of moving boxes on white, later tracks on top."""
    import cv2  # noqa: PLC0415  see above

    check_layout(tracks, frames)
    line = max(2, round(2 * max(height, width) / 832))
    for frame in range(frames):
        picture = np.full((height, width, 3), WHITE, np.uint8)
        for track in tracks:
            box = track.at(frame)
            if box is not None:
                x0, y0, x1, y1 = np.round(
                    box * (width - 1, height - 1, width - 1, height - 1)
                ).astype(int)
                corners = (int(x0), int(y0)), (int(x1), int(y1))
                cv2.rectangle(picture, *corners, track.colour, line)
        yield picture


def check_layout(tracks: Sequence[Track], frames: int) -> None:
    """Check boxes before any is drawn.

    Raises:
        UserError: one lies outside the picture, is inside out, or belongs to a frame that is not
            made.
    """
    boxes = [each for track in tracks for each in track.boxes.items()]
    for key, (left, top, right, bottom) in boxes:
        if not 0 <= key < frames:
            raise UserError(
                f"vace.layout: a box at frame {key}; the video has frames 0 to {frames - 1}"
            )
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise UserError(
                f"vace.layout: box {[left, top, right, bottom]} at frame {key}; need left < right "
                "and top < bottom, as shares of the picture from 0 to 1"
            )
