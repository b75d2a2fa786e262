"""The captions that the transformer is trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wanctl.data.captions import read_captions, read_weighted_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_ids
from wanctl.log import log
from wanctl.train.inputs.collect import ClipsError


@dataclass(frozen=True)
class TrainingCaptions:
    """Captions of the kept clips.

    Attributes:
        texts: clip id -> its captions; that of an evaluation first.
        shares: clip id -> how often each of them is drawn; empty: all equally often.
    """

    texts: Mapping[str, Sequence[str]]
    shares: Mapping[str, Sequence[float]]


def training_captions(
    dataset: DatasetDir,
    selection: str,
    *,
    backends: Sequence[str],
    weights: Mapping[str, float],
    command_options: str,
) -> TrainingCaptions:
    """Captions of the kept clips; logs how many have none.

    Args:
        dataset: the data set.
        selection: whose kept clips count.
        backends: the recipe's `caption.backends`, whose first one counts without weights.
        weights: captioner or variant -> weight; see `read_weighted_captions`.
        command_options: options every printed command needs.

    Raises:
        ClipsError: no kept clip has a caption.
        CaptionsError: a weight for captions that no clip has.
    """
    kept = kept_ids(dataset, selection)
    shares: dict[str, list[float]] = {}
    if weights:
        weighted = read_weighted_captions(dataset, weights, kept)
        texts = {clip: [each.text for each in several] for clip, several in weighted.items()}
        shares = {clip: [each.share for each in several] for clip, several in weighted.items()}
    else:
        found = read_captions(dataset, backends, kept)
        texts = {clip: [each.text for each in several] for clip, several in found.items()}
    if kept and not texts:
        raise ClipsError(
            f"{dataset.path}: none of {len(kept)} clips has a caption; run "
            f"`wanctl caption {command_options}`"
        )
    if len(texts) < len(kept):
        log.warning("train-dit: %d of %d clips have no caption and are left out",
                    len(kept) - len(texts), len(kept))  # fmt: skip
    return TrainingCaptions(texts, shares)
