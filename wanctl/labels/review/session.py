"""One session of `wanctl data review`: builds the index, serves the page until Ctrl-C."""

import json
import os
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from wanctl.atomic import make_folder, writing
from wanctl.data.captions import REVIEW_TABLE
from wanctl.data.card import refresh_captions
from wanctl.data.dataset import DatasetDir
from wanctl.data.export import kept_rows
from wanctl.errors import UserError
from wanctl.labels.review.clip_view import ClipViews
from wanctl.labels.review.decisions import FOLDER, DecisionStore
from wanctl.labels.review.http_server import ReviewServer
from wanctl.labels.review.index import ClipIndex, KeptClip, count_parts
from wanctl.labels.review.previews import Previews
from wanctl.labels.review.queries import ClipQueries
from wanctl.labels.review.report_routes import ReportRoutes
from wanctl.labels.review.routes import ReviewRoutes
from wanctl.lock import try_lock
from wanctl.log import log, progress
from wanctl.video.frames import SPAN
from wanctl.video.workers.worker_pool import DecodePool

CACHE = "cache"


@dataclass(frozen=True)
class ReviewOptions:
    """Settings of a session.

    Attributes:
        selection: only its kept clips; all clips where it does not exist.
        backends: the recipe's captioners, in their order.
        host: address to listen on.
        port: 0 chooses a free one.
        browser: whether to open the page in a browser, where there is a display.
    """

    selection: str
    backends: Sequence[str]
    host: str
    port: int
    browser: bool


def run_session(dataset: DatasetDir, pool: DecodePool, options: ReviewOptions) -> None:
    """Print the address of the page on stdout and serve it until the process is told to end.

    Args:
        dataset: the data set.
        pool: worker processes for videos.
        options: see there.

    Raises:
        UserError: there is nothing to review, the folder cannot be written, another review is
            open, or the address cannot be had.
        KeyboardInterrupt: Ctrl-C; what was decided is on the disk.
    """
    with session(dataset, pool, options) as (server, queries):
        before = queries.counts()
        log.info(
            "%d clips with %d captions, %d of them reviewed, %d flagged; Ctrl-C ends",
            before["clips"], before["captions"], before["reviewed"], before["flagged"],
        )  # fmt: skip
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        if options.browser and has_display():
            webbrowser.open(server.url)
        try:
            server.serve_forever(poll_interval=0.2)
        finally:
            after = queries.counts()
            log.info(
                "%d captions reviewed, %d of them now; %d left; all are in %s",
                after["reviewed"], after["reviewed"] - before["reviewed"], after["left"],
                dataset.path / REVIEW_TABLE,
            )  # fmt: skip


@contextmanager
def session(
    dataset: DatasetDir, pool: DecodePool, options: ReviewOptions
) -> Iterator[tuple[ReviewServer, ClipQueries]]:
    """A server that is bound and knows its answers; the caller serves.

    Raises:
        UserError: see `run_session`.
    """
    cache = dataset.path / FOLDER / CACHE
    with ExitStack() as stack:
        with writing(dataset.path):
            release = try_lock(dataset.path, "review")
        if release is None:
            raise UserError(
                f"{dataset.path}: another `wanctl data review` is open on this data set"
            )
        stack.callback(release)
        make_folder(cache)
        server = stack.enter_context(ReviewServer(options.host, options.port))
        path = cache / "index.sqlite"
        with writing(path):
            index = ClipIndex(path)
        stack.callback(path.unlink, missing_ok=True)
        stack.callback(index.close)
        kept = _kept(dataset, options.selection)
        parts = {
            clip: part
            for part, table in dataset.clips_by_part(["id"])
            for clip in table["id"].to_pylist()
        }
        decisions = DecisionStore(dataset, parts)
        with progress(count_parts(dataset), "index captions") as bar:
            index.build(dataset, kept, decisions.decisions, bar)
        queries = ClipQueries(index)
        report = ReportRoutes(dataset, parts, server.access.token)
        if not queries.clips and not report.exists:
            raise UserError(f"{dataset.path}: no captions to review; `wanctl caption` writes them")
        server.routes = ReviewRoutes(
            index, queries, ClipViews(dataset, index, options.backends, kept or {}), decisions,
            Previews(cache, pool), report, server.access.token, dataset.path.resolve().parent.name,
        )  # fmt: skip
        ids = set(parts) if kept is None else set(kept)
        stack.callback(lambda: refresh_captions(dataset, ids))
        yield server, queries


def has_display() -> bool:
    """Whether a browser with windows can be opened from here."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _kept(dataset: DatasetDir, selection: str) -> dict[str, KeptClip] | None:
    """The kept clips by id; None where there is no such selection."""
    if f"selections/{selection}" not in dataset.tables("selections"):
        return None
    return {
        row["id"]: KeptClip(
            json.dumps({each["filter"]: each["label"] for each in row["labels"] or ()}),
            {} if row[SPAN[0]] is None else {name: row[name] for name in SPAN},
        )
        for row in kept_rows(dataset, selection, ["id", "labels", *SPAN]).to_pylist()
    }
