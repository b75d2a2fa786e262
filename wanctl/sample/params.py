"""What decides the content of one output: everything the file's name is hashed over."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from wanctl.model.shapes import PixelShape
from wanctl.runtime.placement import Placement
from wanctl.sample.prompts import slug
from wanctl.tasks.vace_options import VaceOptions

KEY_DIGITS = 8


@dataclass(frozen=True)
class SamplingParams:
    """How a video is made; all defaults filled in.

    Attributes:
        task: a row of TASKS.
        frames: 4n+1; 1 makes a PNG.
        height: pixels.
        width: pixels.
        fps: of the mp4.
        steps: solver steps.
        shift: of the schedule.
        guide_scale: classifier-free guidance; of two experts (low noise, high noise).
        boundary: share of the noise levels from which on the high-noise expert works; None: one
            model.
        solver: a row of SOLVERS.
        negative_prompt: what guidance leads away from.
        seed: of the noise; not negative.
        noise_device: where the noise is drawn; the two give different numbers.
        crf: H.264 quality.
        fit: whether pictures give the shape (`area`) or are cut to it (`exact`).
        given_frames: how many frames of a video are given; None: as many as are usual.
        inputs: recipe key -> sha256 of the file that it names.
        vace: how VACE's sources are prepared; None: as they are.
        precision: of the transformer, `reference` or `fast`.
        dtype: its number format.
        placement: what else decides its rounding.
        vae_tile: side of the VAE's tiles in pixels; None: the whole picture.
        guide_until: share of the steps that are guided.
        step_cache: threshold of the step cache; 0: none.
    """

    task: str
    frames: int
    height: int
    width: int
    fps: float
    steps: int
    shift: float
    guide_scale: float | tuple[float, float]
    boundary: float | None
    solver: str
    negative_prompt: str
    seed: int
    noise_device: str
    crf: int
    fit: str
    given_frames: int | None
    inputs: Mapping[str, str]
    vace: VaceOptions | None
    precision: str
    dtype: str
    placement: Placement = field(default_factory=Placement)
    vae_tile: int | None = None
    guide_until: float = 1.0
    step_cache: float = 0.0

    @property
    def suffix(self) -> str:
        """Kind of file that comes out."""
        return ".png" if self.frames == 1 else ".mp4"

    @property
    def size(self) -> PixelShape:
        """Of what comes out."""
        return PixelShape(self.frames, self.height, self.width)

    @property
    def kind(self) -> str:
        """Equal for outputs that differ in words and noise alone."""
        return replace(self, seed=0, negative_prompt="").key("", "")

    @property
    def guided(self) -> bool:
        """Whether the negative prompt plays a part."""
        scales = self.guide_scale if isinstance(self.guide_scale, tuple) else (self.guide_scale,)
        return any(scale != 1 for scale in scales)

    def key(self, prompt: str, weights: str) -> str:
        """Hash over all that the content depends on; equal keys mean equal content.

        Args:
            prompt: what is shown.
            weights: fingerprint of the weights.
        """
        content = json.dumps([asdict(self), prompt, weights], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def file_name(self, prompt: str, weights: str) -> str:
        """`<slug>-s<seed>-<hash>.mp4` or `.png`."""
        key = self.key(prompt, weights)[:KEY_DIGITS]
        return f"{slug(prompt)}-s{self.seed}-{key}{self.suffix}"

    def metadata(self) -> dict[str, str]:
        """For the file's header."""
        return {name: str(value) for name, value in asdict(self).items()}
