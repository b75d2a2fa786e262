"""Tasks control and camera: packing of channels, what CLIP and the reference see, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.tasks.test_image_channels import (
    SIZE,
    TEXTS,
    VAE,
    Encoders,
    footage,
    numbers,
    picture,
)
from wanctl.camera.moves import Move
from wanctl.camera.options import CameraOptions
from wanctl.camera.rays import packed_rays, plucker_rays
from wanctl.diffusion.conditions import predict
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variant_table import VARIANTS
from wanctl.tasks.inputs import Inputs, RequestedSize
from wanctl.tasks.table import TASKS
from wanctl.train.dit.tasks.store import pack, unpack

CONTROL, CAMERA = TASKS["control"], TASKS["camera"]
OLD, V11, NEW = (
    VARIANTS[name]
    for name in (
        "wan2.1-fun-1.3b-control", "wan2.1-fun-v1.1-1.3b-control", "wan2.2-fun-a14b-control",
    )
)  # fmt: skip
CAMERA_21, CAMERA_22 = (
    VARIANTS[name]
    for name in ("wan2.1-fun-v1.1-1.3b-control-camera", "wan2.2-fun-a14b-control-camera")
)
MOVES = CameraOptions(moves=(Move("left"),))


class ThreeChannels(Encoders):
    """Its latents have three channels, so the transformer's sizes are scaled to them."""

    def __init__(self, variant):
        copies, mask = divmod(variant.dit.in_channels, 16)
        dit = replace(
            variant.dit, in_channels=3 * copies + mask, out_channels=3,
            reference_channels=3 * bool(variant.dit.reference_channels),
        )  # fmt: skip
        super().__init__(dit)
        self.videos = []

    def latents(self, video):
        self.videos.append(video)
        return super().latents(video)


def control_of(variant, **inputs):
    encode = ThreeChannels(variant)
    inputs = Inputs(video=footage(), fps=10.0, exact=True, **inputs)
    return CONTROL.conditions(TEXTS, 6, inputs, SIZE, encode), encode


def test_the_control_video_is_read_at_the_output_rate_and_comes_first():
    conditions, encode = control_of(OLD)
    assert numbers(encode.videos[0]) == list(range(0, 18, 2))
    channels = conditions.channels
    assert channels.shape == (2, 6, 3, 4, 6)
    assert torch.equal(channels[0, :3], encode.videos[0][:, ::4, ::8, ::8])
    assert not channels[:, 3:].any()


def test_a_start_image_fills_the_first_latent_frame_and_zeros_the_others():
    conditions, encode = control_of(OLD, image=picture(0.5))
    start = conditions.channels[0, 3:]
    assert torch.allclose(start[:, 0], torch.tensor(0.5), atol=1e-2)
    assert not start[:, 1:].any()
    assert encode.videos[1].shape == (3, 1, 32, 48)


def test_models_of_2_2_read_a_mask_and_a_video_with_the_start_image():
    conditions, encode = control_of(NEW, image=picture(0.5))
    assert conditions.channels.shape == (2, 3 + 4 + 3, 3, 4, 6)
    mask = conditions.channels[0, 3:7]
    assert (mask[:, 0] == 1).all()
    assert not mask[:, 1:].any()
    assert encode.videos[1].shape == (3, 9, 32, 48)
    assert conditions.image is None
    without, _ = control_of(NEW)
    assert not without.channels[:, 3:].any()


def test_the_reference_is_read_as_tokens_and_by_clip():
    conditions, encode = control_of(V11, references=(picture(0.25, (64, 64)),))
    assert conditions.reference.shape == (2, 3, 4, 6)
    assert torch.allclose(conditions.reference, torch.tensor(0.25), atol=1e-2)
    assert [tuple(each.shape) for each in encode.seen] == [(3, 64, 64)]
    assert conditions.image.abs().sum() > 0
    without, _ = control_of(V11)
    assert not without.reference.any()


def test_without_a_picture_clip_sees_black_times_zero():
    conditions, encode = control_of(OLD)
    assert (encode.seen[0] == -1).all()
    assert not conditions.image.any()


def test_a_reference_is_refused_where_no_tensor_reads_it():
    with pytest.raises(UserError, match=r"references: this model reads none"):
        control_of(OLD, references=(picture(0.0),))


@pytest.mark.parametrize(
    ("inputs", "requested", "message"),
    [
        (Inputs(), RequestedSize(), "video: task control needs one"),
        (Inputs(video=footage(), fps=10.0), RequestedSize(frames=41),
         "frames: got 41; clip.mp4 holds 20 at 10 fps: say `--set sample.frames=17`"),
        (Inputs(video=footage(), references=(picture(0.0),) * 2), RequestedSize(),
         "references: got 2"),
        (Inputs(video=footage(), mask=footage()), RequestedSize(), "mask: task control takes none"),
    ],
)  # fmt: skip
def test_control_refuses_in_one_line(inputs, requested, message):
    with pytest.raises(UserError) as error:
        CONTROL.size(inputs, requested, OLD.defaults, VAE)
    assert message in str(error.value)


def test_a_control_video_decides_length_and_shape():
    size = CONTROL.size(Inputs(video=footage(), fps=16.0), RequestedSize(), OLD.defaults, VAE)
    assert size == (29, 512, 768)  # 1.95 s; 3:2 within the area of 480 x 832


@pytest.mark.parametrize("variant", [CAMERA_21, CAMERA_22])
def test_the_camera_gets_its_start_image_and_the_rays_of_its_path(variant):
    encode = ThreeChannels(variant)
    inputs = Inputs(image=picture(0.5), camera=MOVES)
    conditions = CAMERA.conditions(TEXTS, 6, inputs, SIZE, encode)
    assert conditions.channels.shape[1] == encode.dit.in_channels - 3
    expected = packed_rays(plucker_rays(MOVES.path(9), 32, 48))
    assert np.array_equal(conditions.rays[1].numpy(), expected)
    assert (conditions.image is None) == (variant is CAMERA_22)


def test_a_camera_path_is_refused_by_models_that_would_ignore_it():
    for variant in (V11, VARIANTS["wan2.1-i2v-14b-480p"], VARIANTS["wan2.1-t2v-1.3b"]):
        assert "would ignore it" in CAMERA.refusal(variant.dit)
    assert "its task is camera" in CONTROL.refusal(CAMERA_22.dit)
    assert CAMERA.refusal(CAMERA_21.dit) is None
    assert CONTROL.refusal(NEW.dit) is None


def test_mistakes_in_a_path_are_told_before_any_work(tmp_path):
    (tmp_path / "path.txt").write_text("link\n1 2 3\n")
    inputs = Inputs(image=picture(0.0), camera=CameraOptions(str(tmp_path / "path.txt")))
    with pytest.raises(UserError, match=r"camera\.path: .* line 2"):
        CAMERA.size(inputs, RequestedSize(), CAMERA_21.defaults, VAE)
    both = CameraOptions("path.txt", (Move("left"),))
    with pytest.raises(UserError, match=r"camera\.moves: goes not with camera\.path"):
        CAMERA.size(replace(inputs, camera=both), RequestedSize(), CAMERA_21.defaults, VAE)


class SixteenPixels(ThreeChannels):
    """A VAE of 16 pixels per latent side, as that of Wan 2.2."""

    def __init__(self, variant):
        super().__init__(variant)
        copies, mask = divmod(variant.dit.in_channels, 48)
        self.dit = replace(self.dit, in_channels=3 * copies + mask)

    def latents(self, video):
        self.videos.append(video)
        return video[:, ::4, ::16, ::16]


LARGE = PixelShape(9, 64, 96)
START = {"image": picture(0.5, (64, 96))}


@pytest.mark.parametrize(
    ("name", "task", "inputs", "before"),
    [
        ("inp", "i2v", START, 0),
        ("inp", "flf2v", {**START, "last_image": picture(0.1, (64, 96))}, 0),
        ("control", "control", {**START, "video": footage(size=(64, 96)), "fps": 10.0}, 3),
        ("control-camera", "camera", {**START, "camera": MOVES}, 0),
    ],
)
def test_models_of_5b_keep_their_first_latent_frame(name, task, inputs, before):
    encode = SixteenPixels(VARIANTS[f"wan2.2-fun-5b-{name}"])
    inputs = Inputs(exact=True, **inputs)
    conditions = TASKS[task].conditions(TEXTS, 6, inputs, LARGE, encode)
    assert conditions.channels.shape == (2, encode.dit.in_channels - 3, 3, 4, 6)
    latents = conditions.channels[:, before + 4 :]
    assert conditions.known_frames.tolist() == [True, False, False]
    assert torch.equal(conditions.known[:, :, 0], latents[:, :, 0])
    assert torch.allclose(latents[:, :, 0], torch.tensor(0.5), atol=1e-2)
    if task == "camera":
        assert conditions.rays.shape == (2, 24, 3, 64, 96)
    seen = []

    def model(x, timesteps, context, **more):
        seen.append((x, timesteps))
        return x[:, :3]

    predict(model, torch.zeros(2, 3, 3, 4, 6), torch.tensor([700.0]), conditions)
    [(x, timesteps)] = seen
    assert timesteps.tolist() == [[0, 700, 700]] * 2
    assert torch.equal(x[:, :3, 0], latents[:, :, 0])


def test_without_a_first_frame_nothing_of_a_5b_model_is_kept():
    encode = SixteenPixels(VARIANTS["wan2.2-fun-5b-control"])
    inputs = Inputs(video=footage(size=(64, 96)), fps=10.0, exact=True)
    assert not CONTROL.conditions(TEXTS, 6, inputs, LARGE, encode).known_frames.any()
    encode = SixteenPixels(VARIANTS["wan2.2-fun-5b-inp"])
    inputs = Inputs(known_frames={8: picture(0.5, (64, 96))}, exact=True)
    conditions = TASKS["interpolation"].conditions(TEXTS, 6, inputs, LARGE, encode)
    assert not conditions.known_frames.any()
    assert torch.equal(unpack(pack(conditions), conditions.context).channels, conditions.channels)
    kept, _ = control_of(NEW, image=picture(0.5))
    assert kept.known is None


def test_one_frame_is_no_video():
    for task in (CONTROL, CAMERA):
        with pytest.raises(UserError, match="frames: got 1"):
            task.latent_shape(VAE, *PixelShape(1, 32, 48))
