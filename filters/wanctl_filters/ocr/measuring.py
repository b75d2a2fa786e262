"""Evidence of `ocr` from the frames of a clip: detect, follow, measure, read."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wanctl.curate.api import FrameBatch
from wanctl_filters.ocr.plates import plate
from wanctl_filters.ocr.polygons import Polygon, bounds, coverage
from wanctl_filters.ocr.text_engines import Detector, LineReader
from wanctl_filters.ocr.track_measures import TrackMeasures, measure_track, relays
from wanctl_filters.ocr.tracks import Samples, Track, follow, region, track_of
from wanctl_filters.shared.overlay import TRACK_COLUMNS

STRIDE = 2
"""Text is detected in every second sample and followed through all of them. Detection costs 70 ms a
frame, following below 2; the start and the end of a text are known to half a detection interval."""


def measure_text(
    frames: FrameBatch, detector: Detector, reader: LineReader | None, max_lines: int
) -> dict[str, Any]:
    """Evidence of one clip; see `Ocr.evidence`.

    Args:
        frames: samples of the clip, RGB.
        detector: finds the polygons of a frame.
        reader: reads a line; None reads nothing.
        max_lines: lines to read among the tracks, and in the frame with most text.
    """
    import cv2

    luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames.frames])
    samples = Samples(luma)
    detected = _detect(frames.frames, samples, detector)
    tracks = follow(samples, detected)
    relay = relays(tracks)
    texts: dict[int, str] = {}
    lines = []
    if reader is not None:
        texts = _read_tracks(frames.frames, tracks, relay, reader, max_lines)
        lines = _read_fullest(frames.frames, detected, tracks, texts, reader, max_lines)
    measures = [measure_track(samples, track) for track in tracks]
    plates = [plate(samples, track) for track in tracks]
    columns: dict[str, Any] = {
        "polygons": [
            [_display(polygon, frames.scale) for polygon in polygons] for _, polygons in detected
        ],
        "texts": lines,
        "samples": len(luma),
        "track_corners": [v for t in tracks for v in _display(t.polygon, frames.scale)],
        "track_plates": [v for box in plates for v in _display(box, frames.scale)],
        "track_first_s": [round(float(frames.times_s[track.first]), 3) for track in tracks],
        "track_last_s": [round(float(frames.times_s[track.last]), 3) for track in tracks],
        "track_matches": [track.matches for track in tracks],
        "track_relay": relay,
        "track_tried": [int(at in texts) for at in range(len(tracks))],
        "track_texts": [texts.get(at, "") for at in range(len(tracks))] if reader else [],
        **{
            f"track_{name}": [round(getattr(each, name), 3) for each in measures]
            for name in TrackMeasures._fields
        },
    }
    return {name: columns[name] for name in ("polygons", "texts", *TRACK_COLUMNS)}


def _detect(
    frames: np.ndarray, samples: Samples, detector: Detector
) -> list[tuple[int, list[Polygon]]]:
    """(sample, its polygons) of every `STRIDE`th sample; equal pictures are detected once."""
    detected: list[tuple[int, list[Polygon]]] = []
    for index in range(0, len(frames), STRIDE):
        same = bool(detected) and samples.equal(detected[-1][0], index)
        polygons: list[Polygon] = detected[-1][1] if same else [*detector(frames[index])]
        detected.append((index, polygons))
    return detected


def _read_tracks(
    frames: np.ndarray,
    tracks: Sequence[Track],
    relay: Sequence[int],
    reader: LineReader,
    max_lines: int,
) -> dict[int, str]:
    """What the `max_lines` largest of the standing tracks say; empty where it is not readable."""
    standing = [
        at
        for at, track in enumerate(tracks)
        if track.matches >= min(3, len(frames)) or relay[at] > 0
    ]
    standing.sort(key=lambda at: -_area(tracks[at].polygon))
    return {
        at: reader(_cutout(frames[tracks[at].anchor], tracks[at].polygon))
        for at in standing[:max_lines]
    }


def _read_fullest(
    frames: np.ndarray,
    detected: Sequence[tuple[int, list[Polygon]]],
    tracks: Sequence[Track],
    texts: dict[int, str],
    reader: LineReader,
    max_lines: int,
) -> list[str]:
    """Strings of the frame with most text, top to bottom; adds to `texts` what it reads."""
    _, height, width = frames.shape[:3]
    shares = [coverage(polygons, width, height) for _, polygons in detected]
    sample, polygons = detected[int(np.argmax(shares))]
    lines = []
    for polygon in sorted(polygons, key=lambda polygon: bounds(polygon)[1::-1])[:max_lines]:
        own = track_of(tracks, sample, polygon)
        known = own is not None and tracks[own].polygon is polygon and texts.get(own)
        lines.append(known or reader(_cutout(frames[sample], polygon)))
        if own is not None and not texts.get(own):
            texts[own] = lines[-1]
    return [line for line in lines if line]


def _cutout(frame: np.ndarray, polygon: Polygon) -> np.ndarray:
    return frame[region(polygon, frame.shape[:2])]


def _area(polygon: Polygon) -> float:
    box = bounds(polygon)
    return (box.right - box.left) * (box.bottom - box.top)


def _display(values: Sequence[float], scale: float) -> list[float]:
    return [round(value / scale, 1) for value in values]
