"""`wanctl filters fit`: trains a filter's head on people's labels."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from wanctl.atomic import write_bytes
from wanctl.errors import UserError
from wanctl.labels.trainable import open_trainee, read_sheet, rows_of
from wanctl.listing import show
from wanctl.log import log
from wanctl.recipe.load import LoadedRecipe

FOLDER = "heads"


def fit(loaded: LoadedRecipe, out: Path, name: str, sheet: Path | None) -> Path:
    """Train, store the head in `out/heads`, and say how it does on clips it has not seen.

    Args:
        loaded: the recipe.
        out: the run folder.
        name: of the filter.
        sheet: CSV with the columns id and label; None where the filter needs no labels.

    Raises:
        UserError: a bad sheet, too few labels, or a filter that cannot be trained.
    """
    trainee = open_trainee(loaded, out, name)
    filter_, batch = trainee.named.filter, trainee.batch
    if sheet is None:
        trained = filter_.train(rows_of(batch, np.zeros(0, dtype=np.int64)), None)
    else:
        marks = read_sheet(sheet, filter_.choices())
        ids = batch.clips["id"].to_pylist()
        rows = np.array([row for row, each in enumerate(ids) if each in marks], dtype=np.int64)
        if lost := len(marks) - len(rows):
            log.warning(
                "%s: %d labels are of clips that are not here, or not measured", sheet, lost
            )
        if marks and not len(rows):
            raise UserError(f"{sheet}: none of its clips is in {trainee.dataset.path}")
        trained = filter_.train(rows_of(batch, rows), [marks[ids[row]] for row in rows])
    path = out / FOLDER / f"{name}.safetensors"
    tensors = {key: np.asarray(value) for key, value in trained.tensors.items()}
    write_bytes(path, save(tensors, metadata=dict(trained.metadata)))
    show(("", ""), [(key, str(value)) for key, value in trained.report.items()])
    log.info("say `curate.filters.%s.head: %s`", name, path)
    return path
