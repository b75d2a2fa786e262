"""The captions that the transformer is trained with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wanctl.data.captions import (
    ClipCaption,
    WeightedCaption,
    is_motion_alone,
    read_captions,
    read_weighted_captions,
)
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_ids, kept_rows
from wanctl.errors import unknown
from wanctl.log import log
from wanctl.train.dit.data import TaskCaptions
from wanctl.train.inputs.collect import ClipsError


@dataclass(frozen=True)
class TrainingCaptions:
    """Captions of the kept clips.

    Attributes:
        texts: clip id -> its captions; that of an evaluation first.
        shares: clip id -> how often each of them is drawn; empty: all equally often.
        by_task: task -> clip id -> captions of its samples, in the place of those above.
    """

    texts: Mapping[str, Sequence[str]]
    shares: Mapping[str, Sequence[float]]
    by_task: TaskCaptions

    def pairs(self) -> Iterator[tuple[str, str]]:
        """(clip id, text) of every caption that may be drawn."""
        for clip, several in self.texts.items():
            yield from ((clip, text) for text in several)
        for captions in self.by_task.values():
            for clip, weighted in captions.items():
                yield from ((clip, each.text) for each in weighted)


def training_captions(
    dataset: DatasetDir,
    selection: str,
    *,
    backends: Sequence[str],
    weights: Mapping[str, float],
    task_weights: Mapping[str, Mapping[str, float]],
    score_words: Mapping[str, str],
    command_options: str,
) -> TrainingCaptions:
    """Captions of the kept clips; logs how many have none.

    Args:
        dataset: the data set.
        selection: whose kept clips count.
        backends: the recipe's `caption.backends`, whose first one counts without weights.
        weights: captioner or variant -> weight; see `read_weighted_captions`.
        task_weights: task -> weights of its samples.
        score_words: filter -> words that stand with its score at the end of each caption.
        command_options: options every printed command needs.

    Raises:
        ClipsError: no kept clip has a caption, or none has a score of a filter.
        CaptionsError: a weight for captions that no clip has.
    """
    kept = kept_ids(dataset, selection)
    ends = _score_ends(dataset, selection, score_words)

    def weighted(by_name: Mapping[str, float]) -> dict[str, list[WeightedCaption]]:
        return {
            clip: [each._replace(text=each.text + ends.get(clip, "")) for each in several]
            for clip, several in read_weighted_captions(dataset, by_name, kept).items()
        }

    shares: dict[str, list[float]] = {}
    if weights:
        drawn = weighted(weights)
        texts = {clip: [each.text for each in several] for clip, several in drawn.items()}
        shares = {clip: [each.share for each in several] for clip, several in drawn.items()}
    else:
        found = read_captions(dataset, backends, kept)
        texts = {
            clip: [each.text + ends.get(clip, "") for each in _of_scenes(several)]
            for clip, several in found.items()
        }
    if kept and not texts:
        raise ClipsError(
            f"{dataset.path}: none of {len(kept)} clips has a caption; run "
            f"`wanctl caption {command_options}`"
        )
    if len(texts) < len(kept):
        log.warning("train-dit: %d of %d clips have no caption and are left out",
                    len(kept) - len(texts), len(kept))  # fmt: skip
    by_task = {task: weighted(by_name) for task, by_name in task_weights.items()}
    return TrainingCaptions(texts, shares, by_task)


def _of_scenes(captions: Sequence[ClipCaption]) -> Sequence[ClipCaption]:
    """Those that describe what is seen; of a clip that has none, all."""
    return [each for each in captions if not is_motion_alone(each.variant)] or captions


def _score_ends(dataset: DatasetDir, selection: str, words: Mapping[str, str]) -> dict[str, str]:
    """Clip id -> what its scores add to its captions, e.g. ` aesthetic score: 5.6`.

    The form is that of Open-Sora, which trains on low scores too and says them in the caption.

    Raises:
        ClipsError: no kept clip has a score of a filter.
    """
    if not words:
        return {}
    ends, seen = {}, set()
    for row in kept_rows(dataset, selection, ["id", "scores"]).to_pylist():
        scores = {each["filter"]: each["score"] for each in row["scores"] or ()}
        seen |= scores.keys()
        said = [
            f"{text}: {_rounded(scores[name])}" for name, text in words.items() if name in scores
        ]
        if said:
            ends[row["id"]] = f" {', '.join(said)}."
    for name in words:
        if name not in seen:
            why = unknown("filter with a score", name, seen) if seen else "no clip has a score"
            raise ClipsError(
                f"train_dit.caption_scores: {why}; run `wanctl curate`, or leave it out"
            )
    return ends


def _rounded(score: float) -> str:
    """Two significant digits, so that scores of 0 to 1 and of 1 to 10 both tell clips apart."""
    return f"{float(f'{score:.2g}'):g}"
