"""The `vllm` backend, and the `openai` backend at a real vLLM server.

The slow tests need a Python with vLLM: this one, or that of the environment variable
WANCTL_VLLM_PYTHON, as vLLM pins its own version of torch.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from tests.unit.vlm import vllm_worker
from tests.unit.vlm.openai_world import model_options
from tests.unit.vlm.small_models import qwen25_vl
from wanctl.vlm.build import build_chat_model
from wanctl.vlm.chat import ChatError
from wanctl.vlm.openai_model import OpenAIModel
from wanctl.vlm.schema_prompt import json_object
from wanctl.vlm.transformers.interface import load_interface
from wanctl.vlm.vllm_prompts import engine_prompt

ROOT = Path(__file__).parents[3]
HAS_VLLM = importlib.util.find_spec("vllm") is not None
PYTHON = os.environ.get("WANCTL_VLLM_PYTHON") or (sys.executable if HAS_VLLM else "")
ENVIRONMENT = os.environ | {
    "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "filters")]),
}  # fmt: skip
needs_vllm = pytest.mark.skipif(not PYTHON, reason="no Python with vLLM: WANCTL_VLLM_PYTHON")


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_without_vllm_one_line_says_how_to_install_it(tmp_path):
    model = build_chat_model(model_options(None, backend="vllm", model=str(tmp_path)))
    line = 'backend vllm: vLLM is not installed; pip install "wanctl[vllm]"'
    for call in (model.check, lambda: model.ask([])):
        with pytest.raises(ChatError) as caught:
            call()
        assert str(caught.value) == line
    model.close()


def test_no_model():
    with pytest.raises(ChatError, match="model: got null"):
        build_chat_model(model_options(None, backend="vllm", model=None))


def test_what_the_engine_is_shown(tmp_path):
    interface = load_interface(str(qwen25_vl(tmp_path)), trust_remote_code=False)
    prompts = {
        each.id: engine_prompt(each, interface, 5000) for each in vllm_worker.requests()[::2]
    }
    assert prompts["text/True"] == {
        "prompt": "<|im_start|>system\nYou describe.<|im_end|>\n"
        "<|im_start|>user\nDescribe.<|im_end|>\n<|im_start|>assistant\n"
    }
    assert prompts["video/True"]["prompt"].count("<|video_pad|>") == 1
    [[video, clock]] = prompts["video/True"]["multi_modal_data"]["video"]
    assert video.shape == (5, 56, 84, 3)
    assert [each / clock["fps"] for each in clock["frames_indices"]] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1, 4 / 3], abs=1e-3
    )
    assert clock["duration"] == pytest.approx(5 / 3)
    mixed = prompts["slow-fast/True"]
    assert "0.33 s: <|vision_start|><|image_pad|><|vision_end|>0.67 s: " in mixed["prompt"]
    # (width, height), with at most 5000 pixels
    sizes = [image.size for image in mixed["multi_modal_data"]["image"]]
    assert sizes == [(86, 57), (84, 56), (84, 56), (84, 56), (86, 57)]
    assert "0.00 s" not in prompts["picture/True"]["prompt"]


def check_answers(answers, requested):
    """Every id once, in order; JSON where it was asked for; one request too long."""
    assert [answer["id"] for answer in answers] == [each.id for each in requested]
    for answer, each in zip(answers[:-1], requested[:-1], strict=True):
        assert answer["error"] == ""
        assert answer["input_tokens"] > 5
        assert answer["output_tokens"] > 0
        if each.schema is not None:
            assert answer["finish"] == "stop"
            jsonschema.validate(json_object(answer["text"]), each.schema)
    assert answers[-1]["finish"] == "failed"
    assert "maximum context length" in answers[-1]["error"]


@needs_vllm
@pytest.mark.slow
def test_requests_of_all_kinds_in_this_process(tmp_path):
    folder = qwen25_vl(tmp_path, head_dim=32)
    done = subprocess.run(
        [PYTHON, vllm_worker.__file__, str(folder)],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = json.loads(done.stdout.splitlines()[-1])
    check_answers(first, vllm_worker.requests())
    check_answers(second, vllm_worker.requests())


@needs_vllm
@pytest.mark.slow
def test_a_real_server_by_the_openai_backend(tmp_path):
    folder = qwen25_vl(tmp_path / "model", head_dim=32)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("w")
    command = [
        PYTHON, "-m", "vllm.entrypoints.openai.api_server", f"--model={folder}", f"--port={port}",
        "--host=127.0.0.1", "--max-model-len=8192", "--enforce-eager", "--dtype=float32",
        "--served-model-name=small",
    ]  # fmt: skip
    with log, subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log) as server:
        url = f"http://127.0.0.1:{port}/v1"
        model = OpenAIModel(model_options(url, model="small"))
        other = OpenAIModel(model_options(url))
        try:
            wait_for(model, server, tmp_path / "log")
            requested = vllm_worker.requests()
            answers = [vars(answer) for answer in model.ask(requested)]
            with pytest.raises(ChatError, match=r"404.*it has 'small'"):
                other.ask(requested[:1])
        finally:
            model.close()
            other.close()
            server.terminate()
    check_answers(answers, requested)


def wait_for(model, server, log, seconds=600):
    """Until the server lists its models."""
    end = time.monotonic() + seconds
    while True:
        try:
            return model.check()
        except ChatError:
            assert server.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(2)
