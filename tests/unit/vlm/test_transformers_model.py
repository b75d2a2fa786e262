"""Models in this process: ids, batches, videos, memory. Small random Qwen2.5-VL and Qwen3-VL."""

import dataclasses
import logging
import shutil
import threading

import numpy as np
import pytest
import torch

from tests.unit.vlm.small_models import qwen2_text, qwen3_vl, qwen25_vl
from wanctl.vlm.build import build_chat_model
from wanctl.vlm.chat import ChatError, ChatModelOptions, ChatRequest, Frames
from wanctl.vlm.schema_prompt import with_schema
from wanctl.vlm.transformers.prompts import encode, kind_of, length_of

PIXELS = 200_704
SCHEMA = {"type": "object", "properties": {"scene": {"type": "string"}}}


def options(model, **changes):
    values = ChatModelOptions(
        backend="transformers", model=model and str(model), url=None,
        api_key_variable="UNUSED", parallel=1, batch=8,
        timeout_s=1.0, attempts=1, max_pixels=PIXELS, dtype="auto", device="cpu",
        trust_remote_code=False,
    )  # fmt: skip
    return dataclasses.replace(values, **changes)


def video(num_frames, height=56, width=84, fps=3.0, seed=0):
    images = np.random.default_rng(seed).integers(
        0, 256, (num_frames, height, width, 3), dtype=np.uint8
    )
    return Frames(tuple(images), tuple(number / fps for number in range(num_frames)))


def slow_fast():
    """Eight frames, every fourth with four times the pixels."""
    small, large = video(8), video(8, 112, 168)
    images = tuple((small if n % 4 else large).images[n] for n in range(8))
    return Frames(images, small.times_s)


def request(name, frames=None, **changes):
    values = ChatRequest(
        id=name, system="Be brief.", text="What happens?", frames=frames, schema=None,
        max_tokens=6, temperature=0.0, seed=0,
    )  # fmt: skip
    return dataclasses.replace(values, **changes)


def mixed_requests():
    return [
        request("clip/en", text="A much longer question about nothing that is shown."),
        request("short", video(2)),
        request("long", video(7, seed=1)),
        request("odd size", video(3, 70, 100)),
        request("slow-fast", slow_fast()),
        request("one frame", video(1)),
        request("picture", Frames(video(1, 80, 60).images, ())),
        request("drawn", video(4), temperature=1.0, seed=5),
        request("drawn text", temperature=0.7, seed=6, max_tokens=5),
        request("schema", video(2), schema=SCHEMA),
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {write.__name__: write(root / write.__name__) for write in (
        qwen25_vl, qwen3_vl, qwen2_text
    )}  # fmt: skip


@pytest.fixture(scope="module")
def models(folders):
    return {name: build_chat_model(options(folder)) for name, folder in folders.items()}


@pytest.fixture(params=["qwen25_vl", "qwen3_vl"])
def model(request, models):
    return models[request.param]


def prompt_of(model, requested):
    """What the model reads, and the tensors with it."""
    interface = model._loaded_interface()
    inputs = encode([requested], kind_of(requested, interface), interface, PIXELS)
    return interface.tokenizer.decode(inputs["input_ids"][0]), inputs


def test_each_answer_is_that_of_its_request_alone(model):
    requested = mixed_requests()
    together = model.ask(requested)
    assert [answer.id for answer in together] == [each.id for each in requested]
    assert together == [model.ask([each])[0] for each in requested]
    assert all(answer.finish == "length" and not answer.error for answer in together)
    assert [answer.output_tokens for answer in together] == [each.max_tokens for each in requested]
    assert together[2].input_tokens > together[1].input_tokens > 30
    assert len({answer.text for answer in together}) == len(requested)


def test_a_draw_depends_on_its_seed_alone(model):
    requested = [request(str(seed), temperature=1.0, seed=seed) for seed in (1, 2, 1)]
    first, second, third = (answer.text for answer in model.ask(requested))
    assert first == third != second


def test_an_answer_that_ends_by_itself_says_so(model):
    # so hot that each of the 302 tokens is as likely as the others; two of them end a text
    requested = [request(str(n), temperature=1e4, seed=n, max_tokens=100) for n in range(8)]
    answers = model.ask(requested)
    ended = [answer for answer in answers if answer.finish == "stop"]
    assert len(ended) >= 2
    assert all(answer.output_tokens < 100 and "<|im_end|>" not in answer.text for answer in ended)


def test_every_frame_and_the_time_between_them_reach_the_model(model):
    frames = video(6)
    [before] = model.ask([request("a", frames)])
    for number in (0, 5):
        images = list(frames.images)
        images[number] = 255 - images[number]
        [after] = model.ask([request("a", Frames(tuple(images), frames.times_s))])
        assert after.text != before.text, number
    # no frame is sampled away, and none is added: half as many pairs as frames
    _, inputs = prompt_of(model, request("a", video(60, fps=30.0)))
    assert inputs["video_grid_thw"][0, 0] == 30


def test_times_are_given_in_the_way_that_the_model_was_trained_with(models):
    frames = Frames(video(4).images, (0.0, 0.5, 2.0, 6.0))
    _, inputs = prompt_of(models["qwen25_vl"], request("a", frames))
    # two frames to a pair, two seconds from frame to frame on average
    assert inputs["second_per_grid_ts"].tolist() == [4.0]
    prompt, _ = prompt_of(models["qwen3_vl"], request("a", frames))
    patches = "<|vision_start|>" + "<|video_pad|>" * 6 + "<|vision_end|>"
    assert f"s:\n<0.2 seconds>{patches}<4.0 seconds>{patches}What" in prompt


def test_frames_of_two_sizes_are_two_videos_with_their_times(model):
    prompt, inputs = prompt_of(model, request("a", slow_fast()))
    assert inputs["video_grid_thw"].tolist()[0][0] == 1
    assert inputs["video_grid_thw"].tolist()[1][0] == 3
    assert "Frames of 168x112 pixels from 0.0 s to 1.3 s:" in prompt
    assert "Frames of 84x56 pixels from 0.3 s to 2.3 s:" in prompt


def test_a_model_that_stacks_videos_gets_one_of_each_clip_and_batches_of_one_length(model):
    interface = model._loaded_interface()
    stacking = dataclasses.replace(interface, any_size=False)
    requested = request("a", slow_fast())
    assert encode([requested], "video", stacking, PIXELS)["video_grid_thw"].tolist()[1:] == []
    assert length_of(requested, "video", stacking) == 8
    assert length_of(requested, "video", interface) == 0


def test_a_model_without_video_gets_each_frame_with_its_time(model):
    interface = dataclasses.replace(model._loaded_interface(), takes_video=False)
    requested = request("a", slow_fast())
    assert kind_of(requested, interface) == "images"
    inputs = encode([requested], "images", interface, PIXELS)
    prompt = interface.tokenizer.decode(inputs["input_ids"][0])
    assert inputs["image_grid_thw"].shape[0] == 8
    assert "0.0 s: <|vision_start|><|image_pad|>" in prompt
    assert "<|vision_end|>2.3 s: <|vision_start|>" in prompt


def test_large_frames_are_scaled_to_the_budget_and_keep_their_shape(model):
    interface = model._loaded_interface()
    requested = request("a", video(2, 480, 960))
    grid = encode([requested], "video", interface, 28 * 28 * 200)["video_grid_thw"][0].tolist()
    patch = interface.processor.video_processor.patch_size
    height, width = grid[1] * patch, grid[2] * patch
    # the processor rounds to its grid of patches
    assert height * width <= 1.1 * 28 * 28 * 200
    assert 1.8 < width / height < 2.2


def test_control_tokens_in_a_caption_are_read_as_text(model):
    plain = request("a", video(2), text="The sign says [im_end] [video_pad].")
    signs = dataclasses.replace(plain, text="The sign says <|im_end|> <|video_pad|>.")
    end = model._loaded_interface().tokenizer.convert_tokens_to_ids("<|im_end|>")
    counts = [(prompt_of(model, each)[1]["input_ids"] == end).sum() for each in (plain, signs)]
    assert counts[0] == counts[1]
    assert model.ask([signs])[0].finish == "length"


def test_the_schema_and_the_system_message_are_part_of_the_prompt(model):
    prompt, _ = prompt_of(model, request("a", video(2), schema=SCHEMA))
    assert "<|im_start|>system\nBe brief.<|im_end|>" in prompt
    assert f"{with_schema('What happens?', SCHEMA)}<|im_end|>" in prompt


def test_a_template_without_a_system_role_gets_the_message_with_the_question(folders, tmp_path):
    folder = shutil.copytree(folders["qwen3_vl"], tmp_path / "model")
    path = folder / "chat_template.jinja"
    refuse = "{%- if messages[0].role == 'system' -%}{{ raise_exception('no role') }}{%- endif -%}"
    path.write_text(refuse + path.read_text())
    prompt, _ = prompt_of(build_chat_model(options(folder)), request("a", video(2)))
    assert "Be brief.\n\nWhat happens?<|im_end|>" in prompt


class Memory:
    """Stands in for `generate`; holds `rows` rows."""

    def __init__(self, model, rows):
        self.generate, self.rows, self.sizes = model.generate, rows, []

    def __call__(self, **inputs):
        rows = len(inputs["input_ids"])
        self.sizes.append(rows)
        if rows > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return self.generate(**inputs)


def test_a_batch_that_does_not_fit_is_halved_for_good(folders, monkeypatch, caplog):
    model = build_chat_model(options(folders["qwen3_vl"]))
    requested = [request(str(n), video(2, seed=n)) for n in range(11)]
    expected = model.ask(requested)
    memory = Memory(model._model, 3)
    monkeypatch.setattr(model._model, "generate", memory)
    with caplog.at_level(logging.WARNING):
        assert model.ask(requested) == expected
    assert memory.sizes == [8, 4, 2, 2, 4, 2, 2, 2, 1]
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "8 requests of video do not fit into memory; from now on 4",
        "4 requests of video do not fit into memory; from now on 2",
    ]
    memory.sizes.clear()
    assert model.ask(requested[:5]) == expected[:5]
    assert memory.sizes == [2, 2, 1]


def test_a_request_that_alone_does_not_fit_fails_by_itself(models, monkeypatch):
    model = models["qwen25_vl"]
    model.ask([request("load")])
    limit = model.ask([request("a", video(2))])[0].input_tokens
    generate = model._model.generate

    def full(**inputs):
        if inputs["input_ids"].shape[1] > limit:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return generate(**inputs)

    monkeypatch.setattr(model._model, "generate", full)
    monkeypatch.setattr(model, "_batches", {})
    answers = model.ask([request("a", video(2)), request("b", video(20)), request("c", video(2))])
    assert [(answer.id, answer.finish) for answer in answers] == [
        ("a", "length"), ("b", "failed"), ("c", "length"),
    ]  # fmt: skip
    assert "alone does not fit into the memory of cpu" in answers[1].error
    assert "max_frames" in answers[1].error
    assert answers[1].text == ""


def test_frames_that_a_processor_refuses_fail_alone(model):
    strip = Frames(video(2, 1, 600).images, (0.0, 0.3))
    requested = [
        request("a", video(2)),
        request("strip", strip),
        request("none", Frames((), (0.0,))),
    ]
    answers = model.ask([*requested, request("b", video(2))])
    assert [answer.finish for answer in answers] == ["length", "failed", "failed", "length"]
    assert "aspect ratio" in answers[1].error
    assert answers[2].error == "the request has no frames"


def test_a_prompt_longer_than_the_model_takes_fails_with_the_numbers(folders, tmp_path):
    folder = shutil.copytree(folders["qwen25_vl"], tmp_path / "model")
    path = folder / "config.json"
    path.write_text(path.read_text().replace('32768,\n  "attention', '64,\n  "attention'))
    [answer] = build_chat_model(options(folder)).ask([request("a", video(30))])
    assert answer.finish == "failed"
    assert "up to 6; the model takes 64" in answer.error


def test_two_threads_get_the_answers_of_one(model):
    requested = mixed_requests()
    expected, got = model.ask(requested), {}

    def ask(number):
        got[number] = model.ask(requested)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(model.parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[number] for number in range(model.parallel)] == [expected] * model.parallel


def test_a_device_that_fails_ends_the_call(models, monkeypatch):
    model = models["qwen3_vl"]
    model.ask([request("load")])

    def broken(**inputs):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nTry this.")

    monkeypatch.setattr(model._model, "generate", broken)
    with pytest.raises(ChatError, match=r"cpu fails .*illegal memory access") as caught:
        model.ask([request("a", video(2)), request("b")])
    assert "\n" not in str(caught.value)


def test_what_is_thought_aloud_is_no_part_of_the_answer(models, monkeypatch):
    model = models["qwen2_text"]
    tokenizer = model._loaded_interface().tokenizer
    monkeypatch.setattr(tokenizer, "decode", lambda *_, **__: "<think>\nA or B?\n</think>\n\nB\n")
    assert model.ask([request("a")])[0].text == "B"


def test_a_language_model_answers_text_and_refuses_frames(models):
    model = models["qwen2_text"]
    requested = [request(str(n), text="why? " * n, schema=SCHEMA) for n in range(1, 4)]
    answers = model.ask(requested)
    assert answers == [model.ask([each])[0] for each in requested]
    assert [answer.id for answer in answers] == ["1", "2", "3"]
    with pytest.raises(ChatError, match="takes text and no pictures"):
        model.ask([requested[0], request("b", video(2))])
