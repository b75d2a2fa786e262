"""Trains a filter's head on labels and writes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from wanctl.atomic import write_bytes
from wanctl.curate.select.decisions import take_rows
from wanctl.errors import UserError
from wanctl.labels.sheet import read_sheet
from wanctl.labels.trainable import TrainableFilter
from wanctl.log import log


def fit_head(trainable: TrainableFilter, sheet: Path | None, path: Path) -> Mapping[str, Any]:
    """Train a head and write it as safetensors.

    Args:
        trainable: the filter and its clips.
        sheet: CSV with the columns id and label; None where the filter needs no labels.
        path: of the head.

    Returns:
        The filter's metrics on held-out clips, by name.

    Raises:
        UserError: a bad sheet, or too few labels.
    """
    filter_, batch = trainable.named.filter, trainable.batch
    if sheet is None:
        trained = filter_.train(take_rows(batch, np.zeros(0, dtype=np.int64)), None)
    else:
        labels = read_sheet(sheet, filter_.choices())
        ids = batch.clips["id"].to_pylist()
        rows = np.array([row for row, each in enumerate(ids) if each in labels], dtype=np.int64)
        if num_unknown := len(labels) - len(rows):
            log.warning(
                "%s: %d labels are of clips that are not in the data set, or not measured",
                sheet,
                num_unknown,
            )
        if labels and not len(rows):
            raise UserError(f"{sheet}: none of its clips is in {trainable.dataset.path}")
        trained = filter_.train(take_rows(batch, rows), [labels[ids[row]] for row in rows])
    tensors = {key: np.asarray(value) for key, value in trained.tensors.items()}
    write_bytes(path, save(tensors, metadata=dict(trained.metadata)))
    return trained.report
