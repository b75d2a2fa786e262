"""Asks a small model through the `vllm` backend, in a Python that has vLLM.

    python vllm_worker.py FOLDER

Prints a JSON list of what was asked and answered; run by `test_vllm_engine.py`.
"""

import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from wanctl.vlm.build import build_chat_model
from wanctl.vlm.chat import ChatModelOptions, ChatRequest, Frames

SCHEMA = {
    "type": "object",
    "properties": {
        "clip_id": {"type": "string", "const": "c1"},
        "camera": {"type": "string", "enum": ["pan left", "still"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["clip_id", "camera", "count"],
    "additionalProperties": False,
}


def shown(kind: str) -> Frames | None:
    """The frames of a request: nothing, a picture, a video, or a video of frames of two sizes."""
    drawn = np.random.default_rng(0)
    sizes = {
        "text": [], "picture": [(84, 112)], "video": [(56, 84)] * 5,
        "slow-fast": [(112, 168), (56, 84), (56, 84), (56, 84), (112, 168)],
    }[kind]  # fmt: skip
    images = tuple(drawn.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes)
    times_s = tuple(i / 3 for i in range(len(images))) if len(images) > 1 else ()
    return Frames(images, times_s) if images else None


def requests() -> list[ChatRequest]:
    """Four kinds, with a schema and without, and one that is too long for the model."""
    plain = [
        ChatRequest(
            f"{kind}/{bool(schema)}", "You describe.", "Describe.", shown(kind), schema, 600, 0.0, 0
        )
        for kind in ("text", "picture", "video", "slow-fast")
        for schema in (SCHEMA, None)
    ]
    return [*plain, ChatRequest("long", "", "word " * 40_000, None, None, 600, 0.0, 0)]


def main(folder: str) -> None:
    """Ask everything at once from eight threads, then all in one call."""
    model = build_chat_model(
        ChatModelOptions(
            backend="vllm", model=folder, url=None, api_key_variable="NONE", parallel=8, batch=1,
            timeout_s=300.0, attempts=1, max_pixels=200_704, dtype="float32", device="auto",
            trust_remote_code=False,
        )
    )  # fmt: skip
    model.check()
    with ThreadPoolExecutor(model.parallel) as pool:
        answers = [answer for [answer] in pool.map(lambda each: model.ask([each]), requests())]
    again = model.ask(requests())
    model.close()
    print(json.dumps([[dataclasses.asdict(each) for each in part] for part in (answers, again)]))


if __name__ == "__main__":
    main(sys.argv[1])
