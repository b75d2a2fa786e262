from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from tests.unit.vlm.openai_world import FakeTime, model_options, request
from tests.unit.vlm.stub_server import FaultPlan, StubServer
from wanctl.vlm.chat import ChatError
from wanctl.vlm.openai_model import OpenAIModel


def ask(fault, attempts, retry_after):
    plan = FaultPlan({fault: 1.0}, at_most=99)
    with StubServer(faults=plan, retry_after=retry_after) as server:
        time = FakeTime()
        model = OpenAIModel(model_options(server.url, attempts=attempts), time.backoff())
        try:
            [answer] = model.ask([request()])
        finally:
            model.close()
    assert answer.finish == "failed"
    return time.slept


def test_pauses_double_up_to_a_minute_and_are_random():
    first, second = (ask("500", 9, None) for _ in range(2))
    for number, seconds in enumerate(first):
        most = min(0.5 * 2**number, 60)
        assert most / 2 <= seconds <= most
    assert len(first) == 8
    assert first != second


def test_a_server_gets_the_pause_that_it_asks_for_and_a_little_more():
    pauses = ask("429", 2, "30")
    # the pause of the client's own is part of it
    assert len(pauses) == 2
    assert 30 <= sum(pauses) <= 31


def test_all_requests_keep_to_the_pause_that_one_was_told():
    time = FakeTime()
    backoff = time.backoff()
    backoff.hold(20)
    backoff.hold(5)
    backoff.wait_for_hold()
    assert 20 <= time.slept[0] <= 21
    backoff.wait_for_hold()
    assert len(time.slept) == 1


def test_headers_give_seconds_milliseconds_or_a_date():
    backoff = FakeTime().backoff()
    date = format_datetime(datetime.fromtimestamp(1090, UTC), usegmt=True)
    assert backoff.requested_s({"retry-after": "7"}) == 7
    assert backoff.requested_s({"retry-after": "7", "retry-after-ms": "1500"}) == 1.5
    assert backoff.requested_s({"retry-after": date}) == 90
    assert backoff.requested_s({"retry-after": "soon"}) is None
    assert backoff.requested_s({}) is None


def test_a_quota_by_the_day_ends_the_run():
    with pytest.raises(ChatError, match=r"429: too many requests; the server asks to wait 60 min"):
        ask("429", 3, "3600")
