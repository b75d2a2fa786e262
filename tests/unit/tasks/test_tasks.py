"""Tasks: sizes they take, noise they want, conditions they build."""

import pytest
import torch

from wanctl.errors import UserError
from wanctl.model.variants import WAN22_VAE, VAEShape
from wanctl.tasks.api import Task, pad_texts, trim_text
from wanctl.tasks.table import TASKS, get_task

VAE = VAEShape()


@pytest.mark.parametrize(
    ("frames", "height", "width", "expected"),
    [
        (81, 480, 832, (16, 21, 60, 104)),
        (81, 720, 1280, (16, 21, 90, 160)),
        (1, 16, 16, (16, 1, 2, 2)),
        (17, 64, 96, (16, 5, 8, 12)),
    ],
)
def test_noise_of_a_video_has_the_published_shape(frames, height, width, expected):
    assert TASKS["t2v"].latent_shape(VAE, frames, height, width) == expected


@pytest.mark.parametrize(
    ("task", "size", "message"),
    [
        ("t2v", (80, 480, 832), "frames: got 80; must be 4n\\+1, e.g. 77 or 81"),
        ("t2v", (81, 481, 832), "height: got 481; must be a multiple of 16, e.g. 480"),
        ("t2v", (81, 480, 8), "width: got 8; must be a multiple of 16, e.g. 16"),
        ("t2i", (5, 480, 832), "frames: got 5; task t2i makes 1"),
        ("t2i", (1, 480, 830), "width: got 830"),
    ],
)
def test_impossible_sizes_are_refused_in_one_line(task, size, message):
    with pytest.raises(UserError, match=message) as caught:
        TASKS[task].latent_shape(VAE, *size)
    assert "\n" not in str(caught.value)


def test_an_image_is_one_frame_whatever_the_variant_runs_with():
    assert TASKS["t2i"].default_frames(81) == 1
    assert TASKS["t2v"].default_frames(81) == 81


def test_a_vae_that_shrinks_16x_wants_multiples_of_32():
    assert TASKS["t2v"].latent_shape(WAN22_VAE, 121, 704, 1280) == (48, 31, 44, 80)
    with pytest.raises(UserError, match="height: got 720; must be a multiple of 32"):
        TASKS["t2v"].latent_shape(WAN22_VAE, 121, 720, 1280)


@pytest.mark.parametrize("name", TASKS)
def test_a_vae_of_other_strides_is_refused(name):
    odd = VAEShape(temporal_downsample=(False, False, True))
    with pytest.raises(UserError, match="shrinks 2x in time; tasks here know 4x"):
        TASKS[name].latent_shape(odd, 1, 64, 64)


# VACE always has a control to encode.
WORDS = [name for name, task in TASKS.items() if not task.required_inputs and name != "vace"]


@pytest.mark.parametrize("name", WORDS)
def test_conditions_are_the_same_from_trimmed_and_from_padded_embeddings(name):
    trimmed = [torch.ones(3, 4), torch.full((5, 4), 2.0)]
    padded = list(pad_texts(trimmed, 7))
    contexts = [TASKS[name].conditions(texts, 7).context for texts in (trimmed, padded)]
    assert contexts[0].shape == (2, 7, 4)
    assert torch.equal(*contexts)
    assert contexts[0][0, 3:].abs().sum() == 0


def test_long_texts_are_cut():
    assert pad_texts([torch.arange(12.0).view(6, 2)], 4)[0, -1].tolist() == [6, 7]


def test_trimming_keeps_zero_rows_between_tokens():
    text = torch.zeros(6, 2)
    text[0], text[2] = 1, -1
    assert len(trim_text(text)) == 3
    assert len(trim_text(torch.zeros(6, 2))) == 0


def test_unknown_task_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 't2v'"):
        get_task("t2vv")


def test_a_task_without_conditions_cannot_be_made():
    class NoConditions(Task):
        name = "none"

        def refusal(self, dit):
            return None

    class NoRefusal(Task):
        name = "none"

        def conditions(self, texts, text_len, inputs=None, size=None, encode=None):
            raise NotImplementedError

    for task, missing in ((NoConditions, "conditions"), (NoRefusal, "refusal")):
        with pytest.raises(TypeError, match=f"abstract method '?{missing}"):
            task()
