"""Reconstructs and measures every clip with every VAE; results on disk are not made again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wanctl.atomic import replacing
from wanctl.checkpoint.files.finite import is_finite
from wanctl.eval.vae.networks import CodingOptions, NamedVAE, reconstruct
from wanctl.eval.vae.pictures import draw_comparison, file_name
from wanctl.eval.vae.store import ResultStore
from wanctl.eval.vae.windows import Clip, Window, WindowOptions, read_window
from wanctl.log import Bar, log, progress
from wanctl.metrics.fidelity import ms_ssim
from wanctl.metrics.frechet import MIN_FRAMES, VideoFeatures
from wanctl.metrics.latents import latent_sums
from wanctl.metrics.reconstruction import Distances, reconstruction_measures
from wanctl.video.workers.worker_pool import DecodePool, Failure

PICTURES = "clips"


@dataclass(frozen=True)
class Networks:
    """The networks that measure.

    Attributes:
        distances: name -> distance of images.
        features: of videos, for FVD; None: not measured.
        key: hash of the files that they come from.
    """

    distances: Distances
    features: VideoFeatures | None
    key: str


@dataclass
class Outcome:
    """What a comparison found.

    Attributes:
        results: clip -> name of the VAE -> its result, see `Comparison`.
        sources: clip -> features of the source, where FVD is measured.
        failed: (clip, name of the VAE or "", why) of what was left out.
    """

    results: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    sources: dict[str, list[float]] = field(default_factory=dict)
    failed: list[tuple[str, str, str]] = field(default_factory=list)


class Comparison:
    """Measures VAEs on clips.

    A result of a VAE and a clip holds `shape` (frames, height, width), `full_size`, `fps`,
    `measures`, `latents` (see `LatentSums`) and, for FVD, `features`.

    Args:
        vaes: what is compared.
        coding: how videos are encoded and decoded.
        window: which frames of a clip are taken.
        networks: the networks that measure.
        out: output folder.
    """

    def __init__(
        self,
        vaes: Sequence[NamedVAE],
        coding: CodingOptions,
        window: WindowOptions,
        networks: Networks,
        out: Path,
    ) -> None:
        self._vaes = vaes
        self._coding = coding
        self._window = window
        self._networks = networks
        self._out = out
        self._store = ResultStore(out)

    def run(self, clips: Sequence[Clip], pool: DecodePool) -> Outcome:
        """Measure; what fails on one clip costs that clip alone.

        Raises:
            WriteError: the output folder cannot be written.
        """
        outcome = Outcome()
        todo = []
        for clip in clips:
            if not self._load(clip, outcome):
                todo.append(clip)
        if done := len(clips) - len(todo):
            log.info("%d of %d clips were measured by an earlier run", done, len(clips))
        tasks = ((clip, self._window) for clip in todo)
        with progress(len(todo) * len(self._vaes), "reconstruct") as bar:
            for index, window in pool.map(read_window, tasks):
                if isinstance(window, Failure):
                    self._fail(outcome, todo[index], "", window.message)
                    bar.advance(len(self._vaes))
                else:
                    self._clip(todo[index], window, outcome, bar)
        return outcome

    def _clip(self, clip: Clip, window: Window, outcome: Outcome, bar: Bar) -> None:
        """Measure one clip with all VAEs and draw its picture."""
        height, width = window.frames.shape[1:3]
        if window.full_size != (width, height):
            log.info("%s: %dx%d px are cropped at the centre to %dx%d", clip.name,
                     *window.full_size, width, height)  # fmt: skip
        source = _to_video(window.frames).to(self._coding.device)
        if self._networks.features is not None and clip.name not in outcome.sources:
            features = self._networks.features(source).tolist()
            self._store.put("source", self._key(clip), {"features": features})
            outcome.sources[clip.name] = features
        frames: dict[str, np.ndarray] = {}
        for vae in self._vaes:
            bar.advance(0, f"{clip.name}, {vae.name}")
            frames |= self._pair(clip, window, source, vae, outcome)
            bar.advance()
        if frames:
            path = self._out / PICTURES / file_name(clip.name)
            with replacing(path) as temp:
                draw_comparison(clip.name, window.frames, frames).save(temp)
            self._store.put("picture", self._key(clip), {"vaes": self._vae_keys()})

    def _pair(
        self, clip: Clip, window: Window, source: Tensor, vae: NamedVAE, outcome: Outcome
    ) -> dict[str, np.ndarray]:
        """Measure a VAE on a clip; its frames (T, H, W, 3) uint8 by its name, or nothing."""
        vae.vae.to(self._coding.device)
        latents, video = reconstruct(vae.vae, source, self._coding)
        if self._coding.device.type != "cpu":
            vae.vae.to("cpu")
        if not (is_finite(latents) and is_finite(video)):
            self._fail(outcome, clip, vae.name, "the VAE makes NaN or infinity of it")
            return {}
        results = outcome.results.setdefault(clip.name, {})
        if vae.name not in results:
            result = {
                "source": clip.source,
                "shape": list(source.shape[1:]),
                "full_size": list(window.full_size),
                "fps": window.fps,
                "measures": self._measures(video, source, vae),
                "latents": latent_sums(latents).as_lists(),
            }
            if self._networks.features is not None:
                result["features"] = self._networks.features(video).tolist()
            self._store.put(vae.key, self._key(clip), result)
            results[vae.name] = result
        return {vae.name: _to_frames(video)}

    def _measures(self, video: Tensor, source: Tensor, vae: NamedVAE) -> dict[str, float | None]:
        measures = reconstruction_measures(
            video,
            source,
            temporal_stride=vae.vae.temporal_stride,
            spatial_stride=vae.vae.spatial_stride,
            distances=self._networks.distances,
        )
        return {**measures, "ms_ssim": ms_ssim(video, source)}

    def _load(self, clip: Clip, outcome: Outcome) -> bool:
        """Take what earlier runs measured; returns whether nothing is left to do for a clip."""
        key = self._key(clip)
        found = {vae.name: self._store.get(vae.key, key) for vae in self._vaes}
        known = {name: result for name, result in found.items() if result}
        if known:
            outcome.results[clip.name] = known
        source = self._store.get("source", key)
        if source and self._networks.features is not None:
            outcome.sources[clip.name] = source["features"]
        complete = source is not None or self._networks.features is None
        picture = self._store.get("picture", key) or {}
        drawn = picture.get("vaes") == self._vae_keys()
        there = (self._out / PICTURES / file_name(clip.name)).is_file()
        return complete and len(known) == len(self._vaes) and drawn and there

    def _key(self, clip: Clip) -> str:
        """Name of a clip's results under these settings."""
        form = {None: "auto", True: "chunked", False: "whole"}[self._coding.chunked]
        settings = [form, str(self._coding.dtype), self._networks.key]
        digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
        return f"{clip.key(self._window)}-{digest}"

    def _vae_keys(self) -> list[list[str]]:
        return [[vae.name, vae.key] for vae in self._vaes]

    def _fail(self, outcome: Outcome, clip: Clip, vae: str, why: str) -> None:
        outcome.failed.append((clip.name, vae, why))


def networks_key(files: Sequence[Path]) -> str:
    """Hash of the files that measure: a changed one is another measure."""
    named = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(named).encode()).hexdigest()[:8]


def fvd_fits(window: WindowOptions) -> bool:
    """Whether windows are long enough for the network of FVD."""
    return window.frames >= MIN_FRAMES


def iter_results(outcome: Outcome, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(clip, result) of one VAE."""
    for clip, results in outcome.results.items():
        if name in results:
            yield clip, results[name]


def _to_video(frames: np.ndarray) -> Tensor:
    """(T, H, W, 3) uint8 -> (3, T, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(frames).movedim(-1, 0).float().div(127.5).sub(1)


def _to_frames(video: Tensor) -> np.ndarray:
    """(3, T, H, W) -> (T, H, W, 3) uint8, rounded to the nearest."""
    scaled = (video.clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)
    return scaled.movedim(0, -1).contiguous().cpu().numpy()
