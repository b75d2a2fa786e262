"""What the review server answers: the page, lists of clips, one clip, its video, decisions."""

from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from wanctl.caption.checks.text import caption_problem, normalise
from wanctl.caption.structured.schema import CAMERA_ANGLES, CAMERA_MOTIONS, FIELDS
from wanctl.data.captions import Decision
from wanctl.escaping import html_text
from wanctl.labels.review.clip_view import ClipViews
from wanctl.labels.review.decisions import Change, ConflictError, DecisionStore
from wanctl.labels.review.http_server import Reply, RequestError, json_reply
from wanctl.labels.review.index import STRUCTURE, ClipIndex
from wanctl.labels.review.previews import PreviewError, Previews
from wanctl.labels.review.queries import FILTERS, STATES, ClipQueries
from wanctl.labels.review.report_routes import OVERRIDES, ReportRoutes

ACTIONS = ("accept", "edit", "reject", "undo")
MAX_CHANGES = 200
MAX_CHARACTERS = 10_000
"""Of an edited caption; umT5 reads some 2,000 characters of English."""

_ASSETS = {
    "/review.css": "text/css",
    "/icon.svg": "image/svg+xml",
    **{f"/{name}.js": "text/javascript" for name in ("api", "clip", "list", "review")},
}


class ReviewRoutes:
    """Answers requests that were let in.

    Args:
        index: the filled index.
        queries: lists of clips.
        views: single clips.
        decisions: what people decide.
        previews: videos.
        report: answers the report.
        token: which the page states with every decision.
        name: of the data set, the title of the page.
    """

    def __init__(
        self,
        index: ClipIndex,
        queries: ClipQueries,
        views: ClipViews,
        decisions: DecisionStore,
        previews: Previews,
        report: ReportRoutes,
        token: str,
        name: str,
    ) -> None:
        self._index = index
        self._queries = queries
        self._views = views
        self._decisions = decisions
        self._previews = previews
        self._report = report
        self._token = token
        self._name = name

    def get(self, path: str, query: dict[str, str]) -> Reply:
        """Answer GET and HEAD; see `http_server.Routes`."""
        if path == OVERRIDES:
            return self._report.overrides()
        if path in ("/", "/report"):
            return self._page(path)
        if path in _ASSETS:
            return Reply(_asset(path[1:]), f"{_ASSETS[path]}; charset=utf-8")
        if path == "/api/start":
            return json_reply(self._start())
        if path == "/api/clips":
            return json_reply(self._clips(query))
        if path == "/api/next":
            step = -1 if query.get("step") == "-1" else 1
            place = self._queries.next_flagged(_filters(query), _number(query, "place", -1), step)
            return json_reply({"place": place})
        if path == "/api/clip":
            view = self._views.view(query.get("id", ""))
            if view is None:
                raise _no_clip(query.get("id", ""))
            return json_reply(view)
        if path.startswith("/video/"):
            return self._video(path.removeprefix("/video/"), query)
        raise RequestError(HTTPStatus.NOT_FOUND, "there is no such page")

    def post(self, path: str, body: Any) -> Reply:
        """Answer POST; see `http_server.Routes`."""
        if path == OVERRIDES:
            return self._report.decide(body)
        if path != "/api/decide":
            raise RequestError(HTTPStatus.NOT_FOUND, "there is no such page")
        action, changes = self._changes(body)
        try:
            self._decisions.change(changes, action)
        except ConflictError as error:
            for each in error.current:  # what this process stored for another window
                self._index.decide(self._place(each.clip), each.variant, each.after)
            raise RequestError(
                HTTPStatus.CONFLICT,
                "Another window has decided on this caption meanwhile. Nothing was saved; look at "
                "it and decide again.",
                current=[_json(each) for each in error.current],
                counts=self._queries.counts(),
            ) from None
        for each in changes:
            self._index.decide(self._place(each.clip), each.variant, each.after)
        return json_reply(
            {"changes": [_json(each) for each in changes], "counts": self._queries.counts()}
        )

    def _page(self, path: str) -> Reply:
        if path == "/report" or not self._queries.clips:
            return self._report.page()
        page = _asset("review.html").decode().replace("{TOKEN}", html_text(self._token))
        page = page.replace("{NAME}", html_text(self._name))
        return Reply(page.encode(), "text/html; charset=utf-8")

    def _start(self) -> dict[str, Any]:
        enums = {"camera_angle": CAMERA_ANGLES, "camera_motion": CAMERA_MOTIONS}
        return {
            "counts": self._queries.counts(),
            "choices": {"state": STATES, "field": list(FIELDS), **self._queries.choices()},
            "values": enums,
        }

    def _clips(self, query: Mapping[str, str]) -> dict[str, Any]:
        start, count = _number(query, "start", 0), _number(query, "count", 50)
        again = "again" in query
        found = self._queries.page(_filters(query), start, count, again=again)
        return {**found, "counts": self._queries.counts()} if again else found

    def _video(self, name: str, query: Mapping[str, str]) -> Reply:
        # the report marks the kept span in the whole clip; captions are of the span alone
        rows = self._views if "kept" in query else self._report
        clip = rows.row(name.removesuffix(".mp4"))
        if clip is None:
            raise _no_clip(name)
        try:
            path = self._previews.file(clip, again="again" in query)
        except PreviewError as error:
            raise RequestError(
                HTTPStatus.NOT_FOUND, f"This clip cannot be played: {error}"
            ) from None
        return Reply(path, "video/mp4", headers={"Cache-Control": "private, max-age=3600"})

    def _changes(self, body: Any) -> tuple[str, list[Change]]:
        """The action and the changes of a request.

        Raises:
            RequestError: says what is wrong with it.
        """
        try:
            action, rows = body["action"], body["changes"]
            changes = [
                Change(str(row["id"]), str(row["variant"]), _decision(row["before"]),
                       _decision(row["after"]))
                for row in rows
            ]  # fmt: skip
        except (KeyError, TypeError, ValueError):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the request has no changes") from None
        if action not in ACTIONS or not 0 < len(changes) <= MAX_CHANGES:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"an action is one of {', '.join(ACTIONS)}")
        return action, [self._checked(each) for each in changes]

    def _checked(self, change: Change) -> Change:
        """A change whose caption is clean and belongs to a caption of the clip.

        Raises:
            RequestError: it does not, or the text cannot be a caption.
        """
        place = self._place(change.clip)
        written = self._index.rows(
            "SELECT backend FROM captions WHERE n = ?1 AND variant = ?2"
            " UNION ALL SELECT backend FROM decisions WHERE n = ?1 AND variant = ?2",
            (place, change.variant),
        )
        if not written or change.variant == STRUCTURE:
            raise RequestError(
                HTTPStatus.BAD_REQUEST, f"no caption {change.variant!r} of this clip"
            )
        if change.after is None:
            return change
        text = normalise(change.after.text)
        if text and (problem := _problem(text)):
            raise RequestError(HTTPStatus.BAD_REQUEST, f"The caption {problem}.")
        backend = change.after.backend
        known = [name for (name,) in written]
        after = Decision(text, backend if backend in known else known[0])
        return Change(change.clip, change.variant, change.before, after)

    def _place(self, clip: str) -> int:
        number = self._index.number(clip)
        if number is None:
            raise _no_clip(clip)
        return number


def _problem(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        return f"has {len(text):,} characters; {MAX_CHARACTERS:,} are allowed"
    if any(ord(each) < 32 or ord(each) == 127 for each in text):
        return "holds a control character"
    return caption_problem(text, "person")


def _filters(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query.get(name, "")[:500] for name in FILTERS}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 12 else default


def _decision(value: Any) -> Decision | None:
    return None if value is None else Decision(str(value["text"]), str(value["backend"]))


def _json(change: Change) -> dict[str, Any]:
    decision = None if change.after is None else change.after._asdict()
    return {"id": change.clip, "variant": change.variant, "decision": decision}


def _no_clip(name: str) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, f"no clip {name[:40]!r} is under review")


def _asset(name: str) -> bytes:
    return files("wanctl.labels.review").joinpath("assets", name).read_bytes()
