"""Vision-language models in this process on a GPU: precision, memory that does not suffice."""

import pytest
import torch

from tests.unit.vlm.small_models import qwen3_vl, qwen25_vl
from tests.unit.vlm.test_transformers_model import mixed_requests, options, request, video
from wanctl.vlm.build import build_chat_model

# What drivers and compilers of other releases warn of is no failure.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("write", [qwen25_vl, qwen3_vl])
def test_answers_come_in_order_in_bfloat16_and_in_float32_as_on_the_cpu(
    write, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    folder = write(tmp_path / "model")
    requested = mixed_requests()
    model = build_chat_model(options(folder, device="cuda"))
    answers = model.ask(requested)
    assert model._model.dtype == torch.bfloat16
    assert [answer.id for answer in answers] == [each.id for each in requested]
    assert all(answer.finish == "length" for answer in answers)
    model.close()
    greedy = [each for each in requested if not each.temperature]
    full = build_chat_model(options(folder, device="cuda", dtype="float32"))
    assert full.ask(greedy) == build_chat_model(options(folder)).ask(greedy)
    full.close()


def test_a_batch_that_does_not_fit_is_halved(tmp_path):
    folder = qwen3_vl(tmp_path / "model")
    model = build_chat_model(options(folder, device="cuda", dtype="float32"))
    small = [request(str(n), video(2, seed=n)) for n in range(8)]
    model.ask(small)
    large = [request(str(n), video(32, 448, 448, seed=n)) for n in range(8)]
    torch.cuda.reset_peak_memory_stats()
    alone = model.ask(large[:1])
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        # room for three or four of the eight
        torch.cuda.set_per_process_memory_fraction(3.5 * torch.cuda.max_memory_allocated() / total)
        answers = model.ask(large)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert [answer.finish for answer in answers] == ["length"] * 8
    assert answers[0] == alone[0]
    assert model._batches["video"] < 8
