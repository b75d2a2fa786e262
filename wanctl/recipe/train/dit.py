"""Keys of `train_dit`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from wanctl.recipe.section import ContradictionError, Count, Steps
from wanctl.recipe.train.adapter import AdapterSection
from wanctl.recipe.train.memory import MemorySection
from wanctl.recipe.train.parallel import TrainParallelSection
from wanctl.recipe.train.section import Factor, Names, TrainSection
from wanctl.recipe.train.tasks import ConditionsSection, TaskWeight
from wanctl.recipe.train.timesteps import TimestepsSection
from wanctl.recipe.train.vace_training import VaceTrainingSection


class TrainDiTSection(TrainSection):
    """Keys of `wanctl train-dit`."""

    trained: Names | None = Field(
        default=None,
        min_length=1,
        description="which weights are trained: `all`, or a list of patterns of parameters, by "
        "parts of their names with * within a part, e.g. `[blocks.*.self_attn, modulation]`; null: "
        "all, but of VACE variants `vace_*`, the control blocks on a frozen base",
    )
    adapter: AdapterSection | None = Field(
        default=None,
        description="an adapter that is trained instead, on the frozen transformer of "
        "`model.weights`; `sample` finds it in the run folder; null: the weights are trained",
    )
    tasks: dict[str, TaskWeight] = Field(
        default_factory=dict,
        description="task -> weight; each micro-batch draws one of those that serve its bucket "
        "(t2i images, all others videos); {}: t2v and t2i, or the variant's first task",
    )
    conditions: ConditionsSection = ConditionsSection()
    vace: VaceTrainingSection = VaceTrainingSection()
    timesteps: TimestepsSection = TimestepsSection()
    experts: Literal["both", "high", "low"] = Field(
        default="both",
        description="variants with two experts: train both, each on its noise levels, or that for "
        "`high` or `low` noise alone, on its levels; the other one is kept",
    )
    expert_steps: Count = Field(
        default=20,
        description="two experts: steps of one expert before the other may take over; the idle one "
        "waits in host memory",
    )
    expert_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="two experts: share of the steps in which the high-noise expert learns; null: "
        "the share of the noise levels that `timesteps` draws for it",
    )
    captions: dict[str, Factor] = Field(
        default={},
        description="captioner, variant, CAPTIONER/VARIANT, or a pattern of these with * -> "
        "weight, e.g. {'long-*': 3, 'short-*-en': 1}: how often a clip comes with which of its "
        "captions; those that share a name share its weight, and each counts with the first name "
        "that fits it; empty: all variants of the first captioner in `caption.backends` equally "
        "often, but for captions of the motion alone",
    )
    task_captions: dict[str, dict[str, Factor]] = Field(
        default={},
        description="task -> weights as in `captions`, for its samples alone, e.g. {i2v: "
        "{'motion-*': 2, 'long-*': 1}}; clips without such a caption take `captions`",
    )
    caption_scores: dict[str, str] = Field(
        default={},
        description="filter -> words that stand with its score at the end of each caption, e.g. "
        "{aesthetic: aesthetic score, motion: motion score} makes `... aesthetic score: 5.6, "
        "motion score: 0.41.`; a prompt for `sample` then says such scores as well",
    )
    memory: MemorySection = MemorySection()
    parallel: TrainParallelSection = TrainParallelSection()
    text_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="share of captions replaced by `text_dropout_to`"
    )
    text_dropout_to: Literal["negative", "empty"] | None = Field(
        default=None,
        description="what replaces them: `negative`, the prompt that `sample` guides away from; "
        "`empty`; null: `negative` from random weights, `empty` from those of `model.weights`, "
        "which keep what they make of the negative prompt",
    )
    cache: Literal["disk", "none"] = Field(
        default="disk",
        description="`disk`: latents and text embeddings are computed once and kept in the data "
        "set; `none`: each batch computes its own on the device, which then holds VAE and text "
        "encoder as well: for data too large to keep. The batches are the same",
    )
    windows_per_clip: Count | None = Field(
        default=4,
        description="windows per clip, evenly spaced, that are trained on; null, with `cache: "
        "none`: any window",
    )
    preview_prompts: tuple[str, ...] = Field(
        default=(),
        description="prompts sampled during training, for each task; empty: captions of held-out "
        "clips, four for one task, fewer for several",
    )
    preview_steps: Steps = Field(default=20, description="solver steps of a preview")
    preview_decoder: Literal["vae", "tiny_decoder"] = Field(
        default="vae",
        description="what decodes previews; `tiny_decoder`, that of OUT/tiny_decoder, is several "
        "times as fast and softer",
    )

    @model_validator(mode="after")
    def _cached_windows_are_listed(self) -> Self:
        """Refuse a cache of any window."""
        if self.cache == "disk" and self.windows_per_clip is None:
            raise ContradictionError(
                "windows_per_clip", "got null, but `cache: disk` needs a number, e.g. 4; or set "
                "cache: none",
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _weights_or_adapter(self) -> Self:
        if self.adapter is not None and self.trained not in (None, ("all",)):
            message = (
                f"got {list(self.trained or ())} beside an adapter, under which all weights are "
            )
            raise ContradictionError("trained", f"{message}frozen; leave one of the two out")
        return self
