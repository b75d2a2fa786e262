"""`wanctl data report`, and the report and data card at the end of `wanctl curate`."""

import hashlib
from pathlib import Path

from wanctl.curate.run import Curated, check_kept, dataset_path, limits, recipe_filters
from wanctl.curate.select.select import filters_with_evidence, resolve_percentiles
from wanctl.data.card import Card
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.log import log
from wanctl.recipe.load import LoadedRecipe
from wanctl.report.card import RecipeFacts, describe, write_dataset_card
from wanctl.report.page import write_report


def report(loaded: LoadedRecipe, out: Path) -> None:
    """Write report.html for the selection as it is."""
    dataset = DatasetDir.open(dataset_path(loaded, out), lock=True)
    table = f"selections/{loaded.recipe.dataset.selection}"
    if not dataset.has_part(table, ""):
        raise UserError(f"{dataset.path}: no {table}; `wanctl data select` makes it")
    filters = filters_with_evidence(dataset, recipe_filters(loaded))
    filters = resolve_percentiles(filters, dataset.read(table, ["scores"]))
    with limits(loaded).pool() as pool:
        page = write_report(dataset, loaded.recipe.dataset.selection, filters, pool)
    log.info("look at %s", page)


def report_curated(loaded: LoadedRecipe, curated: Curated) -> None:
    """Write report.html and the data card for what `wanctl curate` just decided.

    Raises:
        NothingKeptError: it keeps no clip.
    """
    selection = loaded.recipe.dataset.selection
    with limits(loaded).pool() as pool:
        page = write_report(curated.dataset, selection, curated.selected.filters, pool)
    write_dataset_card(curated.dataset, _recipe_facts(loaded))
    log.info("look at %s", page)
    check_kept(curated)


def card_selected(loaded: LoadedRecipe, curated: Curated) -> None:
    """Write the data card for what `wanctl data select` just decided.

    Raises:
        NothingKeptError: it keeps no clip.
    """
    write_dataset_card(curated.dataset, _recipe_facts(loaded))
    log.info("`wanctl data report` draws it")
    check_kept(curated)


def data_card(loaded: LoadedRecipe, dataset: DatasetDir) -> Card:
    """The data card of a data set under the recipe's selection."""
    return describe(dataset, _recipe_facts(loaded))


def _recipe_facts(loaded: LoadedRecipe) -> RecipeFacts:
    recipe = loaded.recipe
    return RecipeFacts(
        name=loaded.name,
        hash=hashlib.sha256(loaded.dump().encode()).hexdigest(),
        selection=recipe.dataset.selection,
        license=recipe.dataset.license,
        detector=recipe.curate.split.detector,
        filters=recipe_filters(loaded),
    )
