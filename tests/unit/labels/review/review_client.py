"""A review server that answers in a thread, and a client that talks as the page does."""

import contextlib
import http.client
import json
import threading

from wanctl.data.dataset import DatasetDir
from wanctl.labels.review.access import HEADER
from wanctl.labels.review.session import ReviewOptions, session
from wanctl.video.workers.worker_pool import DecodePool

OPTIONS = ReviewOptions("default", ("vlm", "sidecar", "template"), "127.0.0.1", 0, browser=False)


class Client:
    """Talks to a server as the page does."""

    def __init__(self, server) -> None:
        self.server, self.port = server, server.server_address[1]
        self.token = server.access.token
        self.cookie = server.access.cookie().partition(";")[0]

    def ask(self, method, path, body=None, **headers):
        """(status, headers, bytes); a header that is None is left out."""
        sent = {"Cookie": self.cookie, HEADER: self.token, "Host": f"127.0.0.1:{self.port}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True)
            data = None if body is None else json.dumps(body).encode()
            if data is not None:
                sent["Content-Length"] = str(len(data))
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()

    def get(self, path):
        status, _, data = self.ask("GET", path)
        assert status == 200, data
        return json.loads(data)

    def decide(self, action, *changes):
        """(status, JSON); each change is (clip, variant, before, after) with texts or None."""
        rows = [
            {"id": clip, "variant": variant, "before": _decision(before), "after": _decision(after)}
            for clip, variant, before, after in changes
        ]
        status, _, data = self.ask("POST", "/api/decide", {"action": action, "changes": rows})
        return status, json.loads(data)


def _decision(text):
    return None if text is None else {"text": text, "backend": "vlm"}


@contextlib.contextmanager
def running(dataset: DatasetDir, options: ReviewOptions = OPTIONS):
    """A server in a thread, and its client."""
    with DecodePool(1, 60, 4 << 30) as pool, session(dataset, pool, options) as (server, _):
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Client(server)
        finally:
            server.shutdown()
            thread.join()
