"""What computes each step of a sample: which expert, at which LoRA strengths, with which guidance.

The steps may be divided into phases that set these apart. Step-distilled LoRAs slow motion down:
one or two first high-noise steps without them and with guidance set the motion, and the distilled
model does the rest without guidance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from wanctl.diffusion.experts import expert_of, scale_of_expert
from wanctl.diffusion.guidance import num_passes
from wanctl.errors import UserError
from wanctl.model.variants import HIGH, LOW, Expert

LoraStrengths = float | tuple[float, ...]
"""Factors of the strengths of a model's LoRAs: one for all of them, or one each."""
UNCHANGED = 1.0


@dataclass(frozen=True)
class Phase:
    """Consecutive steps of a sample, as they are requested.

    Attributes:
        steps: their number; None: all that are left, in the last phase.
        expert: HIGH or LOW; None: as the boundary says.
        lora_strengths: factors of the LoRAs' strengths.
        guide_scale: of guidance, 1 for none; None: as without phases.
    """

    steps: int | None
    expert: Expert | None
    lora_strengths: LoraStrengths
    guide_scale: float | None


@dataclass(frozen=True)
class StepRule:
    """How one step is computed; steps of equal rules have the same velocity function.

    Attributes:
        expert: HIGH or LOW; None where the model has one transformer.
        lora_strengths: factors of the LoRAs' strengths.
        guide_scale: of guidance; 1 evaluates the prompt alone, 0 the negative prompt alone.
        reference_scale: of guidance by references; None: there is none.
    """

    expert: Expert | None
    lora_strengths: LoraStrengths
    guide_scale: float
    reference_scale: float | None = None

    @property
    def transformer(self) -> tuple[Expert | None, LoraStrengths]:
        """Which weights the step needs."""
        return self.expert, self.lora_strengths

    @property
    def passes(self) -> int:
        """How often the transformer is evaluated."""
        return num_passes(self.guide_scale, self.reference_scale)

    @property
    def guided(self) -> bool:
        """Whether the negative prompt is used."""
        return self.passes > 1 or self.guide_scale != 1


def step_rules(
    timesteps: Tensor,
    guide_scale: float | Sequence[float],
    *,
    boundary: float | None = None,
    guide_until: float = 1.0,
    phases: Sequence[Phase] = (),
    reference_scale: float | None = None,
) -> list[StepRule]:
    """The rule of each step.

    Args:
        timesteps: (N,), 0 to 1000.
        guide_scale: one number, or those of two experts (low noise, high noise).
        boundary: see `expert_of`; None: there is one transformer.
        guide_until: share of the steps with guidance, where a phase does not say its own.
        phases: all steps in order; empty: nothing differs but what the other arguments say.
        reference_scale: of guidance by references, in steps that are guided; None: there is none.

    Raises:
        UserError: `phases...: message`: they do not add up to the steps, name an expert of a model
            that has one transformer, or go back to the high-noise expert.
    """
    count = len(timesteps)
    guided = round(guide_until * count)
    rules = []
    for number, phase in enumerate(_phase_of_each_step(phases, count, boundary)):
        time = timesteps[number].item()
        expert = None if boundary is None else phase.expert or expert_of(time, boundary)
        scale = phase.guide_scale
        if scale is None:
            scale = scale_of_expert(guide_scale, expert) if number < guided else 1.0
        unguided = phase.guide_scale == 1 or (phase.guide_scale is None and number >= guided)
        by_references = None if unguided else reference_scale
        rules.append(StepRule(expert, phase.lora_strengths, float(scale), by_references))
    for number, (before, after) in enumerate(pairwise(rules), start=2):
        if (before.expert, after.expert) == (LOW, HIGH):
            raise UserError(
                f"phases: step {number} goes back to the high-noise expert; experts change once, "
                "from high to low"
            )
    return rules


def _phase_of_each_step(
    phases: Sequence[Phase], count: int, boundary: float | None
) -> Iterator[Phase]:
    """The phase that each of `count` steps belongs to.

    Raises:
        UserError: see `step_rules`.
    """
    phases = phases or [Phase(count, None, UNCHANGED, None)]
    given = [phase.steps or 0 for phase in phases]
    left = count - sum(given)
    for index, phase in enumerate(phases):
        if phase.expert and boundary is None:
            raise UserError(
                f"phases.{index}.expert: got {phase.expert!r}, and the model is one transformer; "
                "leave it out"
            )
        if phase.steps is None and index < len(phases) - 1:
            raise UserError(f"phases.{index}.steps: only the last phase may leave it out")
    if left < 0 or (left == 0) == (phases[-1].steps is None):
        raise UserError(
            f"phases: have {' + '.join(str(phase.steps or 'the rest') for phase in phases)} steps, "
            f"and the sample has {count}"
        )
    for phase in phases:
        yield from [phase] * (left if phase.steps is None else phase.steps)
