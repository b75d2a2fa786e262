"""Drops unfit files: interlacing, repeated frames, low bit rate, odd shapes, HDR."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from wanctl.curate.api import Clip, ClipBatch, Evidence, Filter, FrameBatch, Verdicts, threshold

HDR_CURVES = ("smpte2084", "arib_std_b67", "smpte428")
"""PQ, HLG and cinema; without tone mapping they look pale and flat."""

Rule = tuple[str, np.ndarray, Callable[[int], str]]


class Container(Filter):
    """Properties that the file declares, and traces of interlacing and conversion in its frames.

    Footage that was brought to a higher frame rate repeats frames. Training and exports read the
    frame displayed at each time of `train_dit.clip_fps`, so repeats do no harm where different
    frames still come at that rate; `true_fps` is their rate. Drawings change with every second or
    third frame as well; in drawings only the figures do, before a background that stands still or
    pans.

    Every bound is a key of its own and can be turned off with null (`allow_*` keys with true). The
    score is the number of bits per pixel. The label names the first fault:
    `interlaced`, `repeats`, `bits`, `rate`, `shape`, `vfr`, `hdr`, `corrupt`, `turned`, `pixels`
    or `silent`.
    """

    evidence: ClassVar[dict[str, str]] = {
        "bits_per_pixel": "float",
        "fps": "float",
        "true_fps": "float",
        "aspect": "float",
        "pixel_aspect": "float",
        "vfr": "bool",
        "interlaced": "bool",
        "comb_share": "float",
        "repeat_share": "float",
        "frozen_share": "float",
        "corrupt_share": "float",
        "rotation": "int",
        "transfer": "string",
        "primaries": "string",
        "moving_share": "float",
        "has_audio": "bool",
    }
    unit: ClassVar[str] = ""
    version: ClassVar[int] = 3

    min_bits_per_pixel: float | None = threshold(
        default=0.02, ge=0, description="coded bits per stored pixel at least; null sets no bound"
    )
    min_fps: float | None = threshold(
        default=16.0,
        ge=0,
        description="frames per second at least, and different ones where more than max_repeats "
        "are repeated; null sets no bound",
    )
    max_fps: float | None = threshold(
        default=None, gt=0, description="frames per second at most; null sets no bound"
    )
    max_aspect: float | None = threshold(
        default=3.0, ge=1, description="longer side to shorter side at most; null sets no bound"
    )
    # pulldown combs 20 to 40 % of the frames, fewer where little moves; progressive footage < 3 %
    max_combs: float | None = threshold(
        default=0.1,
        ge=0,
        le=1,
        description="share of frames that may show combing (two interlaced fields); null sets no "
        "bound",
    )
    allow_interlaced: bool = threshold(
        default=True,
        description="whether files may be flagged as interlaced; most flagged files without "
        "combing are progressive",
    )
    max_repeats: float | None = threshold(
        default=0.4,
        ge=0,
        le=1,
        description="share of frames that may repeat the previous one, standstills not counted, "
        "where different frames come at less than min_fps: 0.5 in 12 fps converted to 24, 0.6 in "
        "12 converted to 30; null sets no bound",
    )
    drawn_below: float | None = threshold(
        default=0.1,
        ge=0,
        le=1,
        description="share of the picture that moves between different frames, below which footage "
        "counts as drawn on twos or threes and max_repeats does not apply; null applies it to all",
    )
    max_frozen: float | None = threshold(
        default=None,
        ge=0,
        le=1,
        description="share of frames in standstills of half a second; null sets no bound",
    )
    max_corrupt: float | None = threshold(
        default=0.0, ge=0, le=1, description="share of damaged frames; null sets no bound"
    )
    allow_vfr: bool = threshold(default=True, description="whether the frame rate may vary")
    allow_hdr: bool = threshold(
        default=False,
        description="whether footage may be PQ or HLG; it is read without tone mapping",
    )
    allow_unknown_curve: bool = threshold(
        default=True,
        description="whether BT.2020 footage may leave out its transfer curve; it may be HDR",
    )
    allow_rotation: bool = threshold(
        default=True, description="whether frames may be stored rotated by 90, 180 or 270 degrees"
    )
    max_pixel_aspect: float | None = threshold(
        default=2.5,
        ge=1,
        description="longer to shorter side of a stored pixel at most; null sets no bound",
    )
    require_audio: bool = threshold(default=False, description="whether clips must have sound")

    def measure(self, clip: Clip, frames: FrameBatch | None) -> Evidence:
        """Columns of the clip's row; all of them were measured while scanning."""
        pixels_s = (clip.coded_width or clip.width) * (clip.coded_height or clip.height) * clip.fps
        return {
            "bits_per_pixel": clip.bit_rate / pixels_s if clip.bit_rate and pixels_s else None,
            "fps": clip.fps,
            "true_fps": clip.fps * float(1 - _stutter(clip.repeat_share, clip.frozen_share)),
            "aspect": clip.width / clip.height,
            "pixel_aspect": clip.sar_num / clip.sar_den,
            "vfr": clip.vfr,
            "interlaced": clip.interlaced,
            "comb_share": clip.comb_share,
            "repeat_share": clip.repeat_share,
            "frozen_share": clip.frozen_share,
            "corrupt_share": clip.corrupt_share,
            "rotation": clip.rotation,
            "transfer": clip.transfer,
            "primaries": clip.primaries or "",
            "moving_share": 1.0 if clip.moving_share is None else clip.moving_share,
            "has_audio": clip.has_audio,
        }

    def bounds(self) -> tuple[float, ...]:
        """Where the score flips the verdict."""
        return () if self.min_bits_per_pixel is None else (self.min_bits_per_pixel,)

    def decide_many(self, batch: ClipBatch) -> Verdicts:
        """The first broken rule gives the reason and the label."""
        rules = [*self._picture_rules(batch), *self._file_rules(batch)]
        faults = np.full(len(batch), None, dtype=object)
        for name, broken, _ in reversed(rules):
            faults[broken] = name
        bits = batch.evidence["bits_per_pixel"].to_numpy().astype(np.float64)
        return Verdicts.judge(bits, *[(broken, why) for _, broken, why in rules], label=faults)

    def _picture_rules(self, batch: ClipBatch) -> list[Rule]:
        combs, repeats = batch.numbers("comb_share"), batch.numbers("repeat_share")
        frozen, damaged = batch.numbers("frozen_share"), batch.numbers("corrupt_share")
        stutter = _stutter(repeats, frozen)
        allowed = 1 if self.max_repeats is None else self.max_repeats
        true_fps = batch.numbers("true_fps")
        # without a bound on the rate, every rate is too low to repeat frames
        enough = (self.min_fps is not None) & (true_fps >= (self.min_fps or 0) - 1e-6)
        declared = _flags(batch, "interlaced") & (not self.allow_interlaced)
        drawn = batch.numbers("moving_share") < (self.drawn_below or 0)
        return [
            _above("interlaced", combs, self.max_combs, "of the frames show combing of two fields"),
            ("interlaced", declared, lambda _: "the file is flagged as interlaced"),
            (
                "repeats",
                (stutter > (1 if self.max_repeats is None else self.max_repeats))
                & ~drawn
                & ~enough,
                lambda row: (
                    f"{stutter[row]:.1%} of the frames repeat the previous one, allowed "
                    f"{allowed:.1%}; {true_fps[row]:.2f} different frames per second"
                ),
            ),
            _above("repeats", frozen, self.max_frozen, "of the frames stand still"),
            _above("corrupt", damaged, self.max_corrupt, "of the frames are damaged"),
        ]

    def _file_rules(self, batch: ClipBatch) -> list[Rule]:
        bits = batch.evidence["bits_per_pixel"].to_numpy().astype(np.float64)
        fps, aspect = batch.numbers("fps"), batch.numbers("aspect")
        pixel = batch.numbers("pixel_aspect")
        curve = batch.evidence["transfer"].to_numpy(zero_copy_only=False)
        wide = batch.evidence["primaries"].to_numpy(zero_copy_only=False) == "bt2020"
        turned = batch.numbers("rotation") != 0
        none = np.zeros(len(batch), dtype=bool)
        return [
            (
                "bits",
                none if self.min_bits_per_pixel is None else bits < self.min_bits_per_pixel,
                lambda row: (
                    f"{bits[row]:.3f} bits per pixel, at least {self.min_bits_per_pixel:g} wanted"
                ),
            ),
            (
                "rate",
                none if self.min_fps is None else fps < self.min_fps - 1e-6,
                lambda row: f"{fps[row]:.2f} fps, at least {self.min_fps:g} wanted",
            ),
            (
                "rate",
                none if self.max_fps is None else fps > self.max_fps + 1e-6,
                lambda row: f"{fps[row]:.2f} fps, at most {self.max_fps:g} allowed",
            ),
            _ratio("shape", aspect, self.max_aspect, "the frame"),
            ("vfr", _flags(batch, "vfr") & (not self.allow_vfr), lambda _: "its frame rate varies"),
            (
                "hdr",
                np.isin(curve, HDR_CURVES) & (not self.allow_hdr),
                lambda row: f"HDR footage ({curve[row]}) is read without tone mapping",
            ),
            (
                "hdr",
                wide & (curve == "") & (not self.allow_unknown_curve),
                lambda _: "BT.2020 footage without a transfer curve may be HDR",
            ),
            (
                "turned",
                turned & (not self.allow_rotation),
                lambda row: f"stored rotated by {batch.numbers('rotation')[row]} degrees",
            ),
            _ratio("pixels", pixel, self.max_pixel_aspect, "a stored pixel"),
            ("silent", ~_flags(batch, "has_audio") & self.require_audio, lambda _: "has no sound"),
        ]


def _stutter(repeats: Any, frozen: Any) -> Any:
    """Share of repeated frames outside of standstills; numbers or arrays."""
    return np.clip(repeats - frozen, 0, 1) / np.maximum(1 - frozen, 1e-9)


def _flags(batch: ClipBatch, name: str) -> np.ndarray:
    return batch.evidence[name].to_numpy(zero_copy_only=False).astype(bool)


def _above(name: str, share: np.ndarray, bound: float | None, what: str) -> Rule:
    broken = np.zeros(len(share), dtype=bool) if bound is None else share > bound
    return name, broken, lambda row: f"{share[row]:.1%} {what}, allowed {bound:.1%}"


def _ratio(name: str, ratio: np.ndarray, bound: float | None, what: str) -> Rule:
    longer = np.maximum(ratio, 1 / np.maximum(ratio, 1e-9))
    broken = np.zeros(len(ratio), dtype=bool) if bound is None else longer > bound + 1e-9
    return name, broken, lambda row: f"{what} is {longer[row]:.2f}:1, allowed {bound:g}:1"
