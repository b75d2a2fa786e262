"""What a server is sent, and what is sent instead where it does not take that."""

import base64
import json
import logging

import cv2
import numpy as np
import pytest

from tests.unit.vlm.openai_world import frames, quick_model, request
from tests.unit.vlm.stub_server import StubServer, structured_answer
from wanctl.vlm.chat import Frames


def pixels(part):
    """(H, W, 3) uint8 RGB of an image part."""
    kind, _, data = part["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1)
    assert image is not None
    return image[..., ::-1]


def ask(requested, server, **options):
    model = quick_model(server.url, **options)
    try:
        return model.ask([requested])[0]
    finally:
        model.close()


def test_frames_are_sent_in_order_with_their_times_and_before_the_text():
    grey = [(40, 40), (40, 40), (200, 40)]
    images = tuple(np.full((48, 64, 3), (red, 90, blue), np.uint8) for red, blue in grey)
    with StubServer() as server:
        ask(request(shown=Frames(images, (0.0, 0.5, 1.25))), server)
    [body] = server.bodies
    system, user = body["messages"]
    assert system == {"role": "system", "content": "You describe clips."}
    parts = user["content"]
    assert [part.get("text") for part in parts] == [
        "0.00 s:", None, "0.50 s:", None, "1.25 s:", None, f"Clip id: {'a' * 16}",
    ]  # fmt: skip
    for part, image in zip(parts[1::2], images, strict=True):
        assert np.abs(pixels(part).astype(int) - image).max() <= 4
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (300, 0.0, 7)


def test_large_frames_shrink_to_the_pixels_of_the_recipe_each_for_itself():
    images = (np.zeros((400, 800, 3), np.uint8), np.zeros((30, 20, 3), np.uint8))
    with StubServer() as server:
        ask(request(shown=Frames(images, (0.0, 1.0))), server, max_pixels=20_000)
    sent = [pixels(part).shape[:2] for part in server.bodies[0]["messages"][1]["content"][1::2]]
    assert sent == [(100, 200), (30, 20)]


def test_a_still_picture_has_no_time_and_a_text_no_parts():
    picture = Frames((np.zeros((30, 20, 3), np.uint8),), ())
    with StubServer() as server:
        ask(request(shown=picture), server)
        ask(request(), server)
    first, second = (body["messages"][1]["content"] for body in server.bodies)
    assert [part["type"] for part in first] == ["image_url", "text"]
    assert second == f"Clip id: {'a' * 16}"


def test_a_server_without_schemas_is_asked_in_words_from_then_on(caplog):
    caplog.set_level(logging.WARNING)
    with StubServer(no_schema="response_format: json_schema is not supported") as server:
        model = quick_model(server.url)
        for clip in ("a" * 16, "b" * 16):
            [answer] = model.ask([request(clip)])
            assert json.loads(answer.text)["clip_id"] == clip
        model.close()
    # strict, not strict, in words; the second clip in words at once
    assert server.requests == {"a" * 16: 3, "b" * 16: 1}
    assert '"const":"bbbbbbbbbbbbbbbb"' in server.bodies[-1]["messages"][-1]["content"]
    assert [each.getMessage() for each in caplog.records if each.name == "wanctl"] == [
        f"{server.url}: does not take JSON schemas; left out"
    ]


def test_a_server_that_passes_over_the_schema_is_asked_in_words():
    def prose_unless_asked_in_words(body):
        requested = structured_answer(body)
        return "A dog on a beach." if "response_format" in body else f"Here it is: {requested}"

    with StubServer(prose_unless_asked_in_words) as server:
        model = quick_model(server.url)
        answers = model.ask([request("a" * 16)]) + model.ask([request("b" * 16)])
        model.close()
    assert ['"clip_id"' in answer.text for answer in answers] == [True, True]
    assert server.requests == {"a" * 16: 2, "b" * 16: 1}


def test_one_answer_in_prose_does_not_end_the_use_of_schemas():
    replies = iter([structured_answer, lambda _: "I'm sorry.", structured_answer])
    with StubServer(lambda body: next(replies)(body)) as server:
        model = quick_model(server.url)
        answers = [model.ask([request()])[0] for _ in range(3)]
        model.close()
    assert answers[1].text == "I'm sorry."
    assert all("response_format" in body for body in server.bodies)


@pytest.mark.parametrize(
    ("words", "lacking", "having"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
            "max_completion_tokens",
        ),
        (
            "Unsupported value: 'temperature' does not support 0 with this model.",
            "temperature",
            "seed",
        ),
        ("Extra inputs are not permitted: seed", "seed", "temperature"),
    ],
)
def test_a_parameter_that_a_server_refuses_is_left_out(words, lacking, having):
    with StubServer() as server:
        server._problem = lambda body: server.refuse(words) if lacking in body else None
        model = quick_model(server.url)
        assert [model.ask([request()])[0].finish for _ in range(2)] == ["stop", "stop"]
        model.close()
    assert server.requests == {"a" * 16: 3}
    assert having in server.bodies[-1]


def test_tokens_are_counted_and_many_requests_come_back_in_their_order():
    requested = [request(f"{number:016x}", shown=frames(1)) for number in range(40)]
    with StubServer(delay_s=0.05) as server:  # long beside the start of a thread
        model = quick_model(server.url)
        answers = model.ask(requested)
        model.close()
    assert [answer.id for answer in answers] == [each.id for each in requested]
    assert all(
        json.loads(a.text)["clip_id"] == r.id[:16] for a, r in zip(answers, requested, strict=True)
    )
    assert min(answer.input_tokens for answer in answers) > 64
    assert min(answer.output_tokens for answer in answers) > 50
    assert 8 <= server.most_in_work <= 16
