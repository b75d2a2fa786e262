"""The closing line of the structured captioner: what it made, how fast, how busy the model was."""

from dataclasses import dataclass, field

from wanctl.caption.pipeline.model_run import ModelRun
from wanctl.caption.pipeline.part_work import ModelCounts
from wanctl.log import log
from wanctl.progress_lines import duration

# Below this share the model waits for something; above it, it sets the speed.
_BUSY = 0.8
_LONG_S = 60
# Clips per place from which starting and ending take a small part of a run.
_FULL = 8


@dataclass
class ModelTotals:
    """What all processes of a run made with the model.

    Attributes:
        counts: of clips, captions, flags and tokens.
        seconds: sum over the processes.
        longest_s: of one process.
        places: model -> requests at the same time that keep it busy.
        busy_s: model -> seconds for which all its places together were in use.
    """

    counts: ModelCounts = field(default_factory=ModelCounts)
    seconds: float = 0.0
    longest_s: float = 0.0
    places: dict[str, int] = field(default_factory=dict)
    busy_s: dict[str, float] = field(default_factory=dict)

    def add_run(self, run: ModelRun) -> None:
        """Add a run of this process; runs come one after the other."""
        self.counts.merge(run.counts)
        self.seconds += run.seconds
        self.longest_s += run.seconds
        for name, (places, share) in run.occupancy.items():
            self.places[name] = places
            self.busy_s[name] = self.busy_s.get(name, 0.0) + share * run.seconds

    def merge(self, other: "ModelTotals") -> None:
        """Add those of a process that ran at the same time."""
        self.counts.merge(other.counts)
        self.seconds += other.seconds
        self.longest_s = max(self.longest_s, other.longest_s)
        self.places |= other.places
        for name, busy_s in other.busy_s.items():
            self.busy_s[name] = self.busy_s.get(name, 0.0) + busy_s

    def log(self, name: str) -> None:
        """Log the closing line, and what to change where the model had to wait."""
        counts = self.counts
        if not counts.clips and not counts.failures:
            return
        flags = ", ".join(f"{check} {n}" for check, n in counts.flags.most_common()) or "none"
        seconds = max(self.longest_s, 1e-9)
        log.info(
            "%s: %d clips, %d captions in %s; flags: %s; %.3g clips/s, %.4g tokens/s; %s",
            name, counts.clips, counts.captions, duration(self.longest_s), flags,
            counts.clips / seconds, counts.output_tokens / seconds, self._busy(),
        )  # fmt: skip
        if counts.failures:
            log.warning(
                "%d clips cannot be decoded and are in the quarantine; `--retry error` tries them "
                "again",
                counts.failures,
            )
        if flagged := sum(counts.flags.values()):
            log.warning(
                "%d captions or structures failed their checks and are set aside; `wanctl data "
                "review` shows them, `--retry flagged` asks for them again",
                flagged,
            )
        if self._had_to_wait():
            log.warning(
                "the model waited for frames or room in memory; raise curate.decode.workers or "
                "caption.memory_gb"
            )

    def _had_to_wait(self) -> bool:
        """Whether places stayed empty in a run of a minute and of clips enough to fill them."""
        enough = self.counts.clips >= _FULL * sum(self.places.values())
        is_idle = all(each < _BUSY for each in self._shares().values())
        return enough and is_idle and self.longest_s > _LONG_S

    def _shares(self) -> dict[str, float]:
        return {name: busy_s / max(self.seconds, 1e-9) for name, busy_s in self.busy_s.items()}

    def _busy(self) -> str:
        return ", ".join(
            f"{name} was {100 * share:.0f} % busy ({self.places[name]} requests at a time)"
            for name, share in self._shares().items()
        )
