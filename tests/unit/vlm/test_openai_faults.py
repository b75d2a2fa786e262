"""What goes wrong at a server loses no request and gives none the answer of another."""

import threading

import pytest

from tests.unit.vlm.openai_world import (
    FakeTime,
    ask_until_right,
    model_options,
    quick_model,
    request,
)
from tests.unit.vlm.stub_server import FAULTS, FaultPlan, StubServer
from wanctl.vlm.chat import ChatError
from wanctl.vlm.openai_model import OpenAIModel


def test_500_requests_and_all_faults_at_once_lose_and_mix_up_nothing():
    clips = [f"{number:016x}" for number in range(500)]
    # a hang costs the time limit
    shares = {fault: 0.004 if fault == "hang" else 0.03 for fault in FAULTS}
    with StubServer(faults=FaultPlan(shares, seed=3)) as server:
        model = quick_model(server.url, timeout_s=1.0)
        found = ask_until_right(model, clips)
        model.close()
    assert set(server.faulty) == set(FAULTS)
    assert [(found[clip] or {}).get("clip_id") for clip in clips] == clips
    assert set(server.answered) == set(clips)
    # each fault is asked again; on a busy machine so is an answer that comes too late
    assert sum(server.requests.values()) >= 500 + sum(server.faulty.values())


@pytest.mark.parametrize("fault", ["500", "429", "reset", "half", "html", "html_200", "no_choices"])
def test_a_passing_fault_is_tried_again(fault):
    with StubServer(faults=FaultPlan({fault: 1.0}, at_most=3)) as server:
        model = quick_model(server.url)
        [answer] = model.ask([request()])
        model.close()
    assert answer.finish == "stop"
    assert server.requests == {"a" * 16: 4}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("500", "3 attempts, last: 500: the engine has crashed"),
        ("429", "3 attempts, last: 429: too many requests"),
        ("html", "3 attempts, last: 502: Bad gateway"),
        ("html_200", "3 attempts, last: the answer is not JSON: <html><body><h1>Bad gateway"),
        ("no_choices", "3 attempts, last: the answer has no choice"),
        ("half", "3 attempts, last: RemoteProtocolError"),
        ("hang", "3 attempts, last: no answer in time"),
    ],
)
def test_a_lasting_fault_fails_its_request_and_says_which(fault, error):
    with StubServer(faults=FaultPlan({fault: 1.0}, at_most=99)) as server:
        model = quick_model(server.url, attempts=3, timeout_s=0.2 if fault == "hang" else 20)
        [answer] = model.ask([request()])
        model.close()
    assert (answer.finish, answer.text) == ("failed", "")
    assert answer.error.startswith(error)
    assert "\n" not in answer.error
    assert server.requests == {"a" * 16: 3}


@pytest.mark.parametrize(
    ("fault", "finish", "text"),
    [
        ("truncated", "length", '{"clip_id"'),
        ("content_filter", "refused", ""),
        ("refusal", "stop", "I'm sorry"),
    ],
)
def test_how_an_answer_ended_is_handed_on(fault, finish, text):
    plan = FaultPlan({fault: 1.0}, at_most=99)
    with StubServer(faults=plan) as server:
        model = quick_model(server.url)
        [answer] = model.ask([request()])
        model.close()
    assert answer.finish == finish
    assert answer.text.startswith(text)


def test_a_server_that_goes_away_ends_the_run_after_all_attempts():
    with StubServer() as server:
        model = quick_model(server.url, attempts=4)
        assert model.ask([request()])[0].finish == "stop"
    with pytest.raises(ChatError, match=r"answers no more \(4 attempts, last: ConnectError"):
        model.ask([request()])
    model.close()


def test_a_server_that_comes_back_is_asked_again():
    server = StubServer()
    with server:
        time = FakeTime()
        model = OpenAIModel(model_options(server.url), time.backoff())
        model.ask([request()])
    again = StubServer(port=server.port)
    pauses = []

    def start_at_the_third(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            again.__enter__()

    model._backoff._sleep = start_at_the_third
    try:
        assert model.ask([request()])[0].finish == "stop"
        assert len(pauses) == 3
    finally:
        model.close()
        again.__exit__()


def test_closing_ends_a_wait_for_the_next_attempt():
    with StubServer(faults=FaultPlan({"429": 1.0}, at_most=99), retry_after="300") as server:
        model = OpenAIModel(model_options(server.url))
        threading.Timer(0.3, model.close).start()
        with pytest.raises(ChatError, match="closed before the answer came"):
            model.ask([request()])
