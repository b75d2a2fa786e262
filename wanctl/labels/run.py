"""`wanctl filters label`, `wanctl filters fit` and `wanctl data review`: what people mark."""

from pathlib import Path

from wanctl.atomic import write_bytes
from wanctl.curate.run import dataset_path, limits, recipe_filters
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.labels.fit import fit_head
from wanctl.labels.page import render_label_page, render_label_sprites
from wanctl.labels.review.session import ReviewOptions, run_session
from wanctl.labels.sheet import as_csv, read_sheet, sheet_rows
from wanctl.labels.trainable import TrainableFilter, open_trainable
from wanctl.listing import print_rows
from wanctl.log import log
from wanctl.recipe.load import LoadedRecipe

LABELS_FOLDER, HEADS_FOLDER = "labels", "heads"


def label(loaded: LoadedRecipe, out: Path, name: str, clips_per_class: int) -> Path:
    """Write `out/labels/NAME.csv` and `NAME.html`; labels in an earlier sheet are kept.

    Args:
        loaded: the recipe.
        out: the run folder.
        name: of the filter.
        clips_per_class: clips from every class of the filter; more where there are few classes.

    Returns:
        Path of the page.

    Raises:
        UserError: no such filter, it takes no labels, it never measured, or no clip is left.
    """
    trainable = _open(loaded, out, name)
    sheet = out / LABELS_FOLDER / f"{name}.csv"
    choices = trainable.named.filter.choices()
    labels = read_sheet(sheet, choices) if sheet.exists() else {}
    rows = sheet_rows(trainable, clips_per_class, labels)
    if not rows:
        raise UserError(f"{trainable.dataset.path}: no clip is left to label")
    write_bytes(sheet, as_csv(rows).encode())
    ids = {row["id"] for row in rows}
    clips = [clip for clip in trainable.dataset.clips().to_pylist() if clip["id"] in ids]
    with limits(loaded).pool() as pool:
        sprites = render_label_sprites(clips, pool)
    page = sheet.with_suffix(".html")
    write_bytes(page, render_label_page(name, choices, rows, sprites).encode())
    log.info("%d clips in %s; label them there, or in %s", len(rows), page, sheet.name)
    return page


def fit(
    loaded: LoadedRecipe, out: Path, name: str, sheet: Path | None, features: str | None = None
) -> Path:
    """Train a head, write it to `out/heads`, and print metrics on held-out clips.

    Args:
        loaded: the recipe.
        out: the run folder.
        name: of the filter.
        sheet: CSV with the columns id and label; None where the filter needs no labels.
        features: value of the filter's key `features`; None leaves the recipe's.

    Returns:
        Path of the head.

    Raises:
        UserError: a bad sheet, too few labels, or a filter that cannot be trained.
    """
    path = out / HEADS_FOLDER / f"{name}.safetensors"
    trainable = _open(loaded, out, name)
    if features is not None:
        trainable = trainable.with_key("features", features)
    metrics = fit_head(trainable, sheet, path)
    print_rows(("", ""), [(key, str(value)) for key, value in metrics.items()])
    log.info("set `curate.filters.%s.head: %s` in the recipe to use it", name, path)
    return path


def review(loaded: LoadedRecipe, out: Path, *, host: str, port: int, browser: bool) -> None:
    """Serve the page on which people review captions, until Ctrl-C.

    Args:
        loaded: the recipe; `dataset`, `caption.backends` and `curate.decode` count.
        out: the run folder.
        host: address to listen on.
        port: 0 chooses a free one.
        browser: open the page, where there is a display.

    Raises:
        UserError: no data set, no captions, an address or folder that cannot be used.
    """
    recipe = loaded.recipe
    options = ReviewOptions(
        selection=recipe.dataset.selection,
        backends=recipe.caption.backends,
        host=host,
        port=port,
        browser=browser,
    )
    with limits(loaded).pool() as pool:
        run_session(DatasetDir.open(dataset_path(loaded, out)), pool, options)


def _open(loaded: LoadedRecipe, out: Path, name: str) -> TrainableFilter:
    dataset = DatasetDir.open(dataset_path(loaded, out))
    return open_trainable(recipe_filters(loaded), dataset, name)
