"""Options and requests for tests of the `openai` backend."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from wanctl.caption.structured.schema import CLIP_ID, structure_schema
from wanctl.vlm.backoff import Backoff
from wanctl.vlm.chat import ChatModelOptions, ChatRequest, Frames
from wanctl.vlm.openai_model import OpenAIModel

KEY_VARIABLE = "STUB_KEY"


class FakeTime:
    """A clock that sleeping moves on, at once."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def backoff(self):
        return Backoff(self.sleep, lambda: self.now, lambda: self.now)


def model_options(url, **changes):
    kept = {
        "backend": "openai", "model": "stub", "url": url, "api_key_variable": KEY_VARIABLE,
        "parallel": 16, "batch": 1, "timeout_s": 20.0, "attempts": 6, "max_pixels": 200_704,
        "dtype": "auto", "device": "auto", "trust_remote_code": False,
    }  # fmt: skip
    return ChatModelOptions(**kept | changes)


def quick_model(url, **changes):
    """A model whose pauses take no time."""
    return OpenAIModel(model_options(url, **changes), FakeTime().backoff())


def frames(count=3, height=48, width=64):
    images = tuple(np.full((height, width, 3), 40 * i, np.uint8) for i in range(count))
    return Frames(images, tuple(i / 3 for i in range(count)))


def request(clip="a" * 16, attempt=1, shown=None, schema=True):
    number = f"#{attempt}" if attempt > 1 else ""
    return ChatRequest(
        id=f"{clip}/structure{number}", system="You describe clips.", text=f"Clip id: {clip}",
        frames=shown, schema=structure_schema(clip) if schema else None, max_tokens=300,
        temperature=0.0, seed=7,
    )  # fmt: skip


def ask_until_right(model, clips, attempts=4):
    """Clip -> structure, asked again while the id or the JSON is wrong, as captioning does."""

    def one(clip):
        for attempt in range(1, attempts + 1):
            requested = request(clip, attempt)
            [answer] = model.ask([requested])
            assert answer.id == requested.id
            if answer.finish != "stop":
                continue
            try:
                content = json.loads(answer.text)
            except ValueError:
                continue
            if content[CLIP_ID] == clip:
                return content
        return None

    with ThreadPoolExecutor(model.parallel) as pool:
        return dict(zip(clips, pool.map(one, clips), strict=True))
