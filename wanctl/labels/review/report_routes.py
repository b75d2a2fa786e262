"""What the review server answers to the curation report: its page, and overrides of clips."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pyarrow.compute as pc

from wanctl.curate.select.overrides import Override, OverrideFile, entry_of
from wanctl.data.dataset import DatasetDir
from wanctl.escaping import html_text
from wanctl.labels.review.http_server import HEADERS, Reply, RequestError, json_reply
from wanctl.report.page import TOKEN

_pc: Any = pc  # its functions are unknown to type checkers

REPORT = "report.html"
OVERRIDES = "/api/overrides"
# The page is one file with a script of its own, which it allows by its hash.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
_POLICY += "img-src blob:; media-src 'self'; connect-src 'self'; base-uri 'none'; "
_POLICY += "form-action 'none'; frame-ancestors 'none'"


class ReportRoutes:
    """Answers requests of the report.

    Args:
        dataset: the data set.
        parts: clip -> the part of the data set that it is in.
        token: which the page states with every decision.
    """

    def __init__(self, dataset: DatasetDir, parts: Mapping[str, str], token: str) -> None:
        self._dataset = dataset
        self._parts = parts
        self._token = token
        self._file = OverrideFile(dataset.path)

    @property
    def exists(self) -> bool:
        """Whether the data set has a report."""
        return (self._dataset.path / REPORT).is_file()

    def page(self) -> Reply:
        """The report, which stores decisions here.

        Raises:
            RequestError: there is none.
        """
        if not self.exists:
            raise RequestError(
                HTTPStatus.NOT_FOUND, f"there is no {REPORT}; `wanctl data report` writes it"
            )
        page = (self._dataset.path / REPORT).read_text(encoding="utf-8")
        meta = TOKEN.replace('content=""', f'content="{html_text(self._token)}"')
        # only the first one, in the head, is the page's own
        body = page.replace(TOKEN, meta, 1).encode()
        policy = {"Content-Security-Policy": _POLICY}
        return Reply(body, "text/html; charset=utf-8", headers={**HEADERS, **policy})

    def overrides(self) -> Reply:
        """All overrides."""
        return _listed(self._file.read())

    def decide(self, body: Any) -> Reply:
        """Store the override of one clip: {"id", "keep": true, false or null, "reason"}.

        Raises:
            RequestError: no such clip, or no reason.
        """
        try:
            clip, keep, reason = str(body["id"]), body["keep"], body["reason"]
            if keep not in (True, False, None):
                raise ValueError("`keep` is true, false or null")
            override = None if keep is None else Override.now(keep=bool(keep), reason=reason)
        except (KeyError, TypeError):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the request has no override") from None
        except ValueError as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, str(error)) from None
        # an override of a clip that is gone can be taken back
        if clip not in self._parts and override is not None:
            raise RequestError(HTTPStatus.NOT_FOUND, f"no clip {clip[:40]!r} in this data set")
        return _listed(self._file.change(clip, override))

    def row(self, clip: str) -> dict[str, Any] | None:
        """Row of the clips table; None where the data set has no such clip."""
        if clip not in self._parts:
            return None
        table = self._dataset.read("clips", parts=[self._parts[clip]])
        return table.filter(_pc.equal(table["id"], clip)).to_pylist()[0]


def _listed(overrides: Mapping[str, Override]) -> Reply:
    return json_reply({"overrides": [entry_of(*each) for each in sorted(overrides.items())]})
