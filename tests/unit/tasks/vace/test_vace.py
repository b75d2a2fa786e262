"""The task: sizes, noise, what goes together, what the model is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import DiTShape, VAEShape
from wanctl.tasks.inputs import NO_INPUTS, Inputs, RequestedSize, SourceVideo
from wanctl.tasks.vace.task import VACE
from wanctl.tasks.vace_options import Track, VaceOptions

VAE = VAEShape()
DEFAULTS = replace(VARIANTS["wan2.1-t2v-1.3b"].defaults, height=480, width=832)
TASK = VACE()


def clip(frames=81, height=720, width=1280, name="clip.mp4") -> SourceVideo:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (height, width, 3), np.uint8)] * frames
    edges = np.arange(frames + 1) / 16
    return SourceVideo(pictures, edges[:-1], edges[1:], name, (height, width))


def mask(frames=1, height=720, width=1280) -> SourceVideo:
    white = np.zeros((height, width), np.uint8)
    white[:, : width // 2] = 255
    return replace(clip(frames, height, width, "mask.png"), pictures=[white] * frames)


@pytest.mark.parametrize(
    ("inputs", "requested", "expected"),
    [
        (NO_INPUTS, RequestedSize(), (81, 480, 832)),
        (NO_INPUTS, RequestedSize(frames=9, height=64, width=96), (9, 64, 96)),
        (Inputs(references=(torch.zeros(3, 50, 40),)), RequestedSize(), (81, 480, 832)),
        (Inputs(video=clip()), RequestedSize(), (81, 480, 832)),
        (Inputs(video=clip(81, 1280, 720)), RequestedSize(), (81, 848, 464)),
        (Inputs(video=clip(50, 1280, 720)), RequestedSize(height=720, width=1280), (49, 1280, 720)),
        (Inputs(video=clip(), given_frames=30), RequestedSize(), (29, 480, 832)),
        (
            Inputs(video=clip(40), vace=VaceOptions(extend=(0, 41))),
            RequestedSize(frames=81),
            (81, 480, 832),
        ),
        (
            Inputs(video=clip(81, 720, 720), vace=VaceOptions(outpaint=(0.4, 0, 0.4, 0))),
            RequestedSize(),
            (81, 464, 848),
        ),
        (Inputs(image=torch.zeros(3, 1280, 720)), RequestedSize(), (81, 848, 464)),
        (Inputs(image=torch.zeros(3, 1280, 720)), RequestedSize(frames=33), (33, 848, 464)),
        (Inputs(video=clip(81, 1280, 720)), RequestedSize(exact=True), (81, 480, 832)),
        (Inputs(image=torch.zeros(3, 1280, 720)), RequestedSize(exact=True), (81, 480, 832)),
    ],
)
def test_size_is_the_sources_where_there_is_one(inputs, requested, expected):
    assert TASK.size(inputs, requested, DEFAULTS, VAE) == expected


def test_each_reference_takes_a_latent_frame_of_the_noise_and_is_dropped_at_the_end():
    references = Inputs(references=(torch.zeros(3, 8, 8),) * 2)
    assert TASK.latent_shape(VAE, 81, 480, 832) == (16, 21, 60, 104)
    assert TASK.latent_shape(VAE, 81, 480, 832, references) == (16, 23, 60, 104)
    latents = torch.arange(5.0).view(1, 1, 5, 1, 1)
    assert TASK.output_latents(latents, NO_INPUTS).flatten().tolist() == [0, 1, 2, 3, 4]
    assert TASK.output_latents(latents, references).flatten().tolist() == [2, 3, 4]


def test_only_models_with_control_blocks_can():
    assert "no control blocks" in TASK.refusal(VARIANTS["wan2.1-t2v-1.3b"].dit)
    shape = DiTShape(dim=8, ffn_dim=8, num_layers=2, num_heads=1, vace_layers=(0,))
    assert TASK.refusal(shape) is None


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (Inputs(mask=mask()), "mask: needs a video; say `--set sample.video=FILE`"),
        (Inputs(given_frames=5), "given_frames: needs a video"),
        (Inputs(vace=VaceOptions(control="grey")), "vace.control: needs a video"),
        (Inputs(vace=VaceOptions(outpaint=(1, 0, 0, 0))), "vace.outpaint: needs a video"),
        (Inputs(vace=VaceOptions(extend=(0, 4))), "vace.extend: needs a video"),
        (Inputs(video=clip(), image=torch.zeros(3, 8, 8)), "video: goes not with pictures"),
        (
            Inputs(video=clip(), vace=VaceOptions(layout=(Track({}),))),
            "video: goes not with a layout",
        ),
        (
            Inputs(image=torch.zeros(3, 8, 8), vace=VaceOptions(layout=(Track({}),))),
            "vace.layout: goes not with pictures",
        ),
        (
            Inputs(video=clip(), vace=VaceOptions(mask_expand=0.1)),
            "vace.mask_form: needs a mask",
        ),
        (Inputs(video=clip(), mask=mask(1, 48, 64)), r"mask: mask\.png: is 64x48 and the video"),
        (Inputs(video=clip(), mask=mask(4)), r"mask: mask\.png: has 4 frames and the video 81"),
        (Inputs(video=clip(), given_frames=82), r"given_frames: got 82; clip\.mp4 has 81"),
        (Inputs(video=clip(9, 8, 900)), "video: got 900x8"),
        (
            Inputs(video=clip(), vace=VaceOptions(control="blnk")),
            r"vace\.control: no control named 'blnk'; did you mean 'blank'",
        ),
        (
            Inputs(video=clip(), mask=mask(), vace=VaceOptions(mask_form="hul")),
            r"vace\.mask_form: no form named 'hul'; did you mean 'hull'",
        ),
        (
            Inputs(vace=VaceOptions(layout=(Track({81: (0, 0, 1, 1)}),))),
            r"vace\.layout: a box at frame 81; the video has frames 0 to 80",
        ),
        (Inputs(known_frames={0: torch.zeros(3, 8, 8)}), "known_frames: task vace takes none"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(inputs, message):
    with pytest.raises(UserError, match=message) as caught:
        TASK.size(inputs, RequestedSize(), DEFAULTS, VAE)
    assert "\n" not in str(caught.value)


def test_frames_that_the_video_does_not_make_are_refused():
    with pytest.raises(UserError, match="frames: got 49; the video makes 81: leave it out, cut"):
        TASK.size(Inputs(video=clip()), RequestedSize(frames=49), DEFAULTS, VAE)
    with pytest.raises(UserError, match=r"frames: got 50; must be 4n\+1"):
        TASK.size(NO_INPUTS, RequestedSize(frames=50), DEFAULTS, VAE)


class Means:
    """Encoders of which the pixels can be recognised."""

    dit = DiTShape(dim=8, ffn_dim=8, num_layers=2, num_heads=1, vace_layers=(0,))

    def latents(self, video):
        return F.avg_pool2d(video[:, ::4], 8).repeat(6, 1, 1, 1)[:16]

    def images(self, pictures):
        raise AssertionError("no image tokens are wanted")


TEXTS = [torch.ones(3, 4), torch.ones(2, 4)]
SIZE = PixelShape(5, 32, 48)


def test_the_control_is_the_same_for_all_items_and_as_strong_as_wanted():
    inputs = Inputs(
        video=clip(5, 32, 48),
        mask=mask(1, 32, 48),
        references=(torch.full((3, 16, 16), -0.5),),
        vace=VaceOptions(control="blank", scale=0.7),
    )
    conditions = TASK.conditions(TEXTS, 6, inputs, SIZE, Means())
    assert conditions.context.shape == (2, 6, 4)
    assert conditions.control.shape == (2, 96, 3, 4, 6)
    assert torch.equal(conditions.control[0], conditions.control[1])
    assert conditions.control_scale == 0.7
    reference, *frames = conditions.control[0].unbind(1)
    torch.testing.assert_close(reference[:16, :, 1:5], torch.full((16, 4, 4), -0.5))
    assert (reference[:16, :, 0] == 1).all()  # white beside it
    assert (reference[16:] == 0).all()
    for frame in frames:
        assert (frame[32:, :, :3] == 1).all()
        assert (frame[32:, :, 3:] == 0).all()
        assert frame[:16, :, :3].abs().max() == 0
        assert frame[:16, :, 3:].abs().min() > 0
        assert frame[16:32].unique().tolist() == pytest.approx([127 / 127.5 - 1, 0], abs=1e-6)


def test_words_alone_are_told_with_an_empty_control():
    conditions = TASK.conditions(TEXTS, 6, NO_INPUTS, SIZE, Means())
    assert (conditions.control[:, :32] == 0).all()
    assert (conditions.control[:, 32:] == 1).all()


@pytest.mark.parametrize("ends", ["first", "last", "both"])
def test_pictures_at_the_ends_are_kept_and_the_rest_is_made(ends):
    first = torch.full((3, 32, 48), 0.6)
    last = torch.full((3, 40, 60), -0.6)  # of another size: brought to the first's
    inputs = Inputs(
        image=first if ends != "last" else None, last_image=last if ends != "first" else None
    )
    source = TASK.source(inputs, PixelShape(9, 32, 48))
    kept = source.mask[0, :, 0, 0] == 0
    assert kept.tolist() == [ends != "last", *[False] * 7, ends != "first"]
    if ends != "last":
        torch.testing.assert_close(source.video[:, 0], first, atol=1 / 255, rtol=0)
    if ends != "first":
        assert (source.video[:, -1] + 0.6).abs().max() < 0.02
    assert source.video[:, 1:-1].unique().tolist() == pytest.approx([127 / 127.5 - 1])


def test_the_first_frames_of_a_video_are_used():
    footage = replace(
        clip(9, 32, 48), pictures=[np.full((32, 48, 3), i, np.uint8) for i in range(9)]
    )
    source = TASK.source(Inputs(video=footage, given_frames=5), SIZE)
    assert ((source.video[0, :, 0, 0] + 1) * 127.5).round().tolist() == [0, 1, 2, 3, 4]
