"""Each error of a server that is not worth a second try, as the user reads it."""

import logging
import socket
from collections import Counter

import pytest

from tests.unit.vlm.openai_world import KEY_VARIABLE, frames, model_options, quick_model, request
from tests.unit.vlm.stub_server import FaultPlan, StubServer
from wanctl.redact import redact
from wanctl.vlm.chat import ChatError
from wanctl.vlm.openai_model import OpenAIModel

KEY = "my-very-private-word"


def error_of(server, ask=None, **changes):
    model = quick_model(server if isinstance(server, str) else server.url, **changes)
    with pytest.raises(ChatError) as caught:
        model.ask([ask or request()])
    model.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_error(url):
    model = quick_model(url)
    with pytest.raises(ChatError) as caught:
        model.check()
    model.close()
    return str(caught.value)


@pytest.fixture
def no_server():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nothing listens there
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def test_no_server_at_the_address(no_server):
    wanted = f"{no_server}: no server answers (ConnectError: [Errno 111] Connection refused); "
    assert error_of(no_server).startswith(wanted)
    assert "no server answers" in check_error(no_server)


def test_a_missing_key_and_a_wrong_one_name_the_variable(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with StubServer(key="sk-the-right-one-123") as server:
        assert f"401: it needs a key; set {KEY_VARIABLE}" in error_of(server)
        assert f"it needs a key; set {KEY_VARIABLE}" in check_error(server.url)
        monkeypatch.setenv(KEY_VARIABLE, KEY)
        message = error_of(server)
        assert f"the server refuses the key in {KEY_VARIABLE}" in message
        assert KEY not in message
        monkeypatch.setenv(KEY_VARIABLE, "sk-the-right-one-123")
        model = quick_model(server.url)
        model.check()
        assert model.ask([request()])[0].finish == "stop"
        model.close()
    assert sum(server.requests.values()) == 1


def test_words_that_stand_for_no_key_stay_readable(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "EMPTY")
    with StubServer() as server:
        model = quick_model(server.url)
        model.check()
        model.close()
    assert redact("the answer is empty or EMPTY") == "the answer is empty or EMPTY"


def test_a_key_that_cannot_be_sent_is_not_repeated(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, f"{KEY}\n{KEY}")
    with pytest.raises(ChatError, match=KEY_VARIABLE) as caught:
        quick_model("http://127.0.0.1:1/v1")
    assert KEY not in str(caught.value)


def test_an_unknown_model_names_those_of_the_server():
    with StubServer(models=("qwen-vl", "llava")) as server:
        message = error_of(server)
    assert message == (
        f"{server.url}: no model 'stub': 404: The model `stub` does not exist.; it has 'qwen-vl', "
        "'llava'"
    )


def test_a_url_without_v1():
    with StubServer() as server:
        message = error_of(server.url.removesuffix("/v1"))
    assert "404" in message
    assert "the URL goes up to and with /v1" in message


@pytest.mark.parametrize(
    "words",
    [
        "stub is not a multimodal model",
        "At most 0 image(s) may be provided in one prompt.",
        "Invalid content type. image_url is only supported by certain models.",
        "unknown variant `image_url`, expected `text`",
        "This model does not support image input.",
    ],
)
def test_a_model_without_vision(words):
    with StubServer(no_vision=words) as server:
        assert "'stub' is a model without vision" in error_of(server, request(shown=frames()))
        model = quick_model(server.url)
        assert model.ask([request()])[0].finish == "stop"  # it takes text
        model.close()


def test_more_frames_than_the_server_takes():
    words = "At most 2 image(s) may be provided in one prompt."
    with StubServer(no_vision=words) as server:
        message = error_of(server, request(shown=frames(3)))
    assert "takes 2 images in a request, got 3; lower caption.max_frames" in message


def test_a_request_that_is_refused_fails_alone_and_at_once():
    words = "This model's maximum context length is 8192 tokens."
    with StubServer(no_vision=words) as server:
        model = quick_model(server.url)
        answers = model.ask([request(shown=frames()), request("b" * 16)])
        model.close()
    assert [answer.finish for answer in answers] == ["failed", "stop"]
    assert answers[0].error == f"400: {words}"
    assert server.requests == Counter({"a" * 16: 1, "b" * 16: 1})


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "/v1"])
def test_what_is_no_url_of_a_server(url):
    with pytest.raises(ChatError, match=r"url: got .* e\.g\. http://127.0.0.1:8000/v1"):
        OpenAIModel(model_options(url))


def test_no_model():
    with pytest.raises(ChatError, match="model: got null"):
        OpenAIModel(model_options("http://127.0.0.1:8000/v1", model=None))


def test_credentials_are_in_no_error_and_no_log_line(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    password, token = "p4ssw%2Frd-of-mine", "tok-1234567890abcdef1234"
    lines = []
    with StubServer(key="right", models=("other",)) as server:
        host = server.url.removeprefix("http://")
        for url in (server.url, f"http://me:{password}@{host}", f"{server.url}?api-key={token}"):
            lines.append(error_of(url))
    with StubServer(faults=FaultPlan({"500": 1.0}, at_most=99), models=("stub",)) as server:
        host = server.url.removeprefix("http://")
        model = quick_model(f"http://me:{password}@{host}?api-key={token}", attempts=2)
        lines += [model.ask([request()])[0].error, model.name]
        model.close()
    lines.append(error_of(f"http://me:{password}@127.0.0.1:9/v1?api-key={token}"))
    ours = [each.getMessage() for each in caplog.records if each.name == "wanctl"]
    for secret in (KEY, password, "p4ssw/rd-of-mine", token):
        assert not [line for line in [*lines, *ours] if secret in line]
        assert secret not in redact(f"a text with {secret} in it")
