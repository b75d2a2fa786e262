"""Small models behind a real `transformers serve`, asked as any OpenAI-compatible server."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.unit.vlm.small_models import qwen3_vl, qwen25_vl
from tests.unit.vlm.test_transformers_model import mixed_requests, options
from wanctl.vlm.build import build_chat_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (find_spec("fastapi") and find_spec("uvicorn")),
        reason="transformers serve needs the extra transformers[serving]",
    ),
]
START_S = 400


@contextmanager
def served(folder, home):
    """The address of a server that runs the model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "hub").mkdir(parents=True, exist_ok=True)
    command = [Path(sys.executable).with_name("transformers"), "serve", folder, "--device", "cpu",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (home / "log").open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        until = time.monotonic() + START_S
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (home / "log").read_text()[-2000:]
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


@pytest.mark.parametrize("write", [qwen25_vl, qwen3_vl])
def test_a_served_model_answers_each_request_under_its_id(write, tmp_path, monkeypatch):
    folder = write(tmp_path / "model")
    # the publisher's penalty on repeated words, which the server applies, would hide what is equal
    (folder / "generation_config.json").write_text('{"do_sample": false}')
    monkeypatch.setenv("UNUSED", "any")
    with ExitStack() as stack:
        url = stack.enter_context(served(folder, tmp_path / "home"))
        settings = options(folder, backend="openai", url=url, parallel=3, timeout_s=120.0)
        model = stack.enter_context(closing(build_chat_model(settings)))
        model.check()
        requested = mixed_requests()
        got = model.ask(requested)
        assert [answer.id for answer in got] == [each.id for each in requested]
        assert all(answer.finish == "length" and not answer.error for answer in got)
        assert [answer.output_tokens for answer in got] == [each.max_tokens for each in requested]
        alone = {each.id: model.ask([each])[0] for each in requested if not each.temperature}
        for answer in got:
            if answer.id in alone:
                assert answer == alone[answer.id]
        # the same words as in this process, where the server is given the same tokens
        assert got[0] == build_chat_model(options(folder)).ask(requested[:1])[0]
