"""Decide how two experts share the steps of a run, before any work."""

from collections.abc import Sequence
from dataclasses import dataclass

from wanctl.errors import ProblemsError
from wanctl.log import log
from wanctl.model.variants import HIGH, LOW
from wanctl.train.dit.experts.routing import Routing, expert_levels
from wanctl.train.dit.noise.levels import NoiseLevels

# A range that the law meets this rarely has no conditional distribution in float64 to speak of.
LEAST_MASS = 1e-6

LatentShape = tuple[int, int, int]


@dataclass(frozen=True)
class ExpertOptions:
    """How two experts are trained.

    Attributes:
        trained: `both`, HIGH or LOW.
        boundary: noise level between the experts.
        share: share of the steps in which the expert for high noise learns; None: the share of the
            law's levels from the boundary up.
        block_steps: steps after which the other expert may take over.
        steps: of the run.
        seed: of the run.
    """

    trained: str
    boundary: float
    share: float | None
    block_steps: int
    steps: int
    seed: int

    @property
    def networks(self) -> tuple[str, ...]:
        """The experts that are trained."""
        return (HIGH, LOW) if self.trained == "both" else (self.trained,)


def route_experts(
    options: ExpertOptions, levels: NoiseLevels, buckets: Sequence[tuple[LatentShape, float]]
) -> Routing:
    """The routing of a run with two experts; says in the log who learns when.

    Args:
        options: of the experts.
        levels: draws the noise levels.
        buckets: latent (T, Y, X) and relative probability of each bucket.

    Raises:
        ProblemsError: the law has no levels for an expert, or an expert never learns.
    """
    ranges = {n: r for n, r in expert_levels(options.boundary).items() if n in options.networks}
    total = sum(probability for _, probability in buckets)
    masses: dict[str, float] = {}
    for name, within in ranges.items():
        parts = [(levels.mass(shape, within), probability) for shape, probability in buckets]
        if min(parts)[0] < LEAST_MASS:
            message = (
                f"law {levels.law.law} draws no levels from {within[0]:g} to {within[1]:g}, those "
                f"of the {name}-noise expert; change law, mean, std or shift, or train the other "
                "expert alone (train_dit.experts)"
            )
            raise ProblemsError([("train_dit.timesteps", message)])
        masses[name] = sum(part * probability for part, probability in parts) / total
    if len(ranges) == 1:
        ((name, (low, high)),) = ranges.items()
        log.info("train-dit: the %s-noise expert learns from noise levels %g to %g; the other is "
                 "not trained", name, low, high)  # fmt: skip
        return Routing(ranges)
    share = masses[HIGH] if options.share is None else options.share
    routing = Routing(ranges, share, options.block_steps, options.seed)
    learn = dict.fromkeys(ranges, 0)
    for first in range(0, options.steps, options.block_steps):
        learn[routing.turn(first)] += min(options.block_steps, options.steps - first)
    if idle := [name for name, count in learn.items() if not count]:
        message = (
            f"got {options.block_steps}; in {options.steps} steps the {idle[0]}-noise expert "
            f"never learns (share of the steps of the high-noise expert: {share:.3g}); lower it, "
            "or train longer"
        )
        raise ProblemsError([("train_dit.expert_steps", message)])
    log.info("train-dit: of %d steps the high-noise expert learns in %d, from noise levels above "
             "%g, the low-noise expert in %d; they change places after %d steps or more",
             options.steps, learn[HIGH], options.boundary, learn[LOW],
             options.block_steps)  # fmt: skip
    return routing
