"""Whether a training command has to import its data set first."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wanctl.exchange.imports.importing import DecodeOptions, import_dataset
from wanctl.recipe.load import LoadedRecipe
from wanctl.video.probe import ScanBounds


def prepare_dataset(
    loaded: LoadedRecipe, out: Path
) -> tuple[LoadedRecipe, Callable[[], None] | None]:
    """The recipe to train with, and what has to be done before.

    Where `dataset.path` names another trainer's data set, the recipe to train with uses
    `out/dataset`, and the function imports into it; one process calls it.

    Args:
        loaded: the recipe; `dataset`, `curate.decode` and `curate.split` are used.
        out: output folder.

    Returns:
        (the recipe, a function; None where `dataset.path` is a data set directory, does not exist
        or is not set).
    """
    path = loaded.recipe.dataset.path
    if path is None or not path.exists() or (path / "dataset.json").is_file():
        return loaded, None
    dataset = loaded.recipe.dataset.model_copy(update={"path": None})
    recipe = replace(loaded, recipe=loaded.recipe.model_copy(update={"dataset": dataset}))
    keys, split = loaded.recipe.curate.decode, loaded.recipe.curate.split
    decode = DecodeOptions(
        keys.workers,
        keys.timeout_s,
        int(keys.memory_gb * 2**30),
        ScanBounds(split.max_damaged, split.max_unplaced),
    )

    def run() -> None:
        import_dataset(
            path, out / "dataset", dataset.selection, recipe=recipe.dump(), decode=decode
        )

    return recipe, run
