import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.sample.rewrite.scripted import ScriptedModel, answer
from wanctl.model.variant_table import get_variant
from wanctl.recipe.load import load_recipe
from wanctl.sample.inputs import InputCache
from wanctl.sample.rewrite.requests import rewrite_requests
from wanctl.sample.settings import build_request

I2V = "model.variant=wan2.1-i2v-14b-480p"


@pytest.mark.parametrize(
    ("overrides", "roles"),
    [
        ([I2V, "sample.image={red}"], {"the first frame of the video": (200, 0, 0)}),
        (
            [
                "model.variant=wan2.1-flf2v-14b",
                "sample.image={red}",
                "sample.last_image={blue}",
            ],
            {
                "the first frame of the video": (200, 0, 0),
                "the last frame of the video": (0, 0, 200),
            },
        ),
        (
            [I2V, "sample.task=interpolation", "sample.known_frames={{-1: {blue}, 0: {red}}}"],
            {"frame 0 of the video": (200, 0, 0), "frame 80 of the video": (0, 0, 200)},
        ),
        (
            ["model.variant=wan2.1-vace-1.3b", "sample.references=[{blue}]"],
            {"a subject that the video shows": (0, 0, 200)},
        ),
    ],
    ids=["i2v", "flf2v", "interpolation", "references"],
)
def test_the_model_sees_the_pictures_of_the_task(tmp_path, overrides, roles):
    files = {"red": (200, 0, 0), "blue": (0, 0, 200)}
    for name, colour in files.items():
        Image.new("RGB", (64, 48), colour).save(tmp_path / f"{name}.png")
    paths = {name: tmp_path / f"{name}.png" for name in files}
    loaded = load_recipe(
        "tiny", ["sample.rewrite.enabled=true", *(each.format(**paths) for each in overrides),
                 "sample.frames=81", "sample.height=null", "sample.width=null"],
    )  # fmt: skip
    cache = InputCache(60, 2**31)
    request = build_request(
        loaded, '"a fox"', variant=get_variant(loaded.recipe.model.variant), dtype=torch.float32,
        cache=cache, seed=5,
    )  # fmt: skip
    model = ScriptedModel(lambda _: answer("A fox."))
    (rewritten,) = rewrite_requests([request], cache, model, tmp_path)
    assert rewritten.typed_prompt == '"a fox"'
    (requested,) = model.requests
    lines = requested.text.splitlines()
    assert lines[-1] == "Request: a fox"
    for number, (line, image, (role, colour)) in enumerate(
        zip(lines, requested.frames.images, roles.items(), strict=False), 1
    ):
        assert line.startswith(f"Picture {number}: {role}")
        assert np.array_equal(image[0, 0], colour)
    assert len(requested.frames.images) == len(roles) == len(lines) - 1
