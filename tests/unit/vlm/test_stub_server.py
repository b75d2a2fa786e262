import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import jsonschema
import pytest

from tests.unit.vlm.stub_server import FaultPlan, StubServer
from wanctl.caption.structured.schema import captions_schema, structure_schema

VARIANTS = ("long-formal-en", "short-poetic-zh", "motion-en")


def ask(server, schema, timeout=5):
    body = {
        "model": "stub",
        "messages": [{"role": "user", "content": "describe"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    }
    request = urllib.request.Request(
        server.url + "/chat/completions", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.load(response)


def test_answers_are_valid_and_differ_from_clip_to_clip():
    with StubServer() as server:
        texts = set()
        for clip in ("a" * 16, "b" * 16):
            for schema in (structure_schema(clip), captions_schema(clip, VARIANTS)):
                text = ask(server, schema)["choices"][0]["message"]["content"]
                jsonschema.validate(json.loads(text), schema)
                texts.add(text.replace(clip, ""))
    assert len(texts) == 4
    assert server.requests == server.answered == {"a" * 16: 2, "b" * 16: 2}


def test_the_rate_is_that_of_the_limit_and_the_delay():
    with StubServer(delay_s=0.1, limit=4) as server, ThreadPoolExecutor(12) as pool:
        start = monotonic()
        list(pool.map(lambda i: ask(server, structure_schema(f"{i}")), range(12)))
    assert monotonic() - start >= 0.3
    assert server.most_in_work == 4


@pytest.mark.parametrize("fault", ["500", "429", "html"])
def test_a_fault_comes_at_most_as_often_as_planned(fault):
    with StubServer(faults=FaultPlan({fault: 1.0}, at_most=2)) as server:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError):
                ask(server, structure_schema("a"))
        assert ask(server, structure_schema("a"))["choices"]
    assert server.faulty == {fault: 2}
