"""Files beside the footage: control videos that a user gives, and the picture of what is drawn."""

import numpy as np
import pytest
from PIL import Image

from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.recipe.load import RecipeError, load_recipe
from wanctl.recipe.validate import load_checked
from wanctl.tasks.vace.task import VACE
from wanctl.train.dit.tasks.api import TaskOptions
from wanctl.train.dit.tasks.vace import VaceControls
from wanctl.train.dit.vace.sheet import write_controls
from wanctl.train.inputs.windows import ClipWindow, Shape
from wanctl.train.rng import keyed_generator
from wanctl.video.encode import write_video


def depth_video(path, frames=12):
    """Frames of growing brightness, half the window's size."""
    grey = np.arange(frames, dtype=np.uint8)[:, None, None, None] * 20
    path.parent.mkdir(exist_ok=True)
    write_video(path, np.broadcast_to(grey, (frames, 32, 48, 3)).copy(), 16, crf=0)


def task_of(options):
    return VaceControls(TaskOptions((1, 1), 1, options))


def test_a_clip_s_own_control_video_is_the_control(window, control_options, tmp_path):
    depth_video(tmp_path / "depth/abc.mp4")
    options = control_options(
        "control_video", control_videos=(f"{tmp_path}/depth/{{clip}}.mp4", "nowhere/{clip}.mp4")
    )
    place = ClipWindow("abc", Shape(9, 64, 96), 2, "x")
    task = task_of(options)
    inputs = task.window_inputs(place, window[0], 16.0, keyed_generator(0), 0)
    source = VACE().source(inputs, PixelShape(9, 64, 96))
    assert source.mask.eq(1).all()
    levels = ((source.video.mean(dim=(0, 2, 3)) + 1) * 127.5).tolist()
    assert levels == pytest.approx(range(40, 220, 20), abs=4)  # 4: the codec's rounding
    before = task.window_key(place)
    depth_video(tmp_path / "depth/abc.mp4", 13)
    assert task.window_key(place) != before  # else the cache would keep the old one


def test_a_clip_without_one_takes_another_kind_or_is_refused(window, control_options, tmp_path):
    pattern = f"{tmp_path}/{{clip}}.mp4"
    place = ClipWindow("abc", Shape(9, 64, 96), 4, "x")

    def draw(kinds):
        task = task_of(control_options(kinds, control_videos=(pattern,)))
        return task.window_inputs(place, window[0], 16.0, keyed_generator(0), 0)

    assert draw(["control_video", "text"]).present == ()
    with pytest.raises(UserError, match=r"control_videos: clip abc: no file .*\{clip\}\.mp4; make"):
        draw("control_video")
    depth_video(tmp_path / "abc.mp4")
    with pytest.raises(UserError, match=r"abc\.mp4: has 12 frames, frames 4 to 12 are needed"):
        draw("control_video")
    (tmp_path / "abc.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"^train_dit\.vace\.control_videos: .*abc\.mp4"):
        draw("control_video")


def test_a_run_shows_what_it_draws(memory_footage, control_options, tmp_path, caplog):
    caplog.set_level("INFO")
    footage = memory_footage(shape=Shape(5, 32, 48))
    depth_video(tmp_path / "1.mp4", 12)
    kinds = ["inpaint", "grey", "control_video"]
    options = control_options(
        kinds, references=0.5, composite=0.5, control_videos=(f"{tmp_path}/{{clip}}.mp4",)
    )
    for folder in ("first", "again"):
        write_controls(options, footage, 8.0, 0, tmp_path / folder)
    first, again = (tmp_path / each / "controls.png" for each in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    picture = Image.open(first)
    assert picture.text["rows"].split("\n") == [*kinds, "inpaint + grey"]
    assert "1 of 3 clips have a control video" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train_dit.vace.kinds={inpant: 1}"], "did you mean 'inpaint'"),
        (
            [f"train_dit.vace.mask_shapes.{n}=0" for n in ("subject", "box", "ellipse", "blob")]
            + ["train_dit.vace.mask_shapes.strokes=0"],
            "train_dit.vace.mask_shapes.subject: all weights are 0",
        ),
        (["train_dit.vace.kinds.grey=-1"], "train_dit.vace.kinds.grey"),
        (["train_dit.vace.mask_area=[0.5, 0.1]"], "must not be the larger one"),
        (["train_dit.vace.kinds.control_video=1"], "vace.control_videos: got none"),
        (["train_dit.vace.control_videos=['a/{clip}.mp4']"], "kinds.control_video: got 0"),
        (
            ["train_dit.vace.control_videos=[a.mp4]", "train_dit.vace.kinds.control_video=1"],
            "control_videos.0: got 'a.mp4'; must hold {clip}",
        ),
    ],
)
def test_keys_that_make_no_sense_are_one_line(overrides, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe("tiny-vace", overrides)
    [line] = str(caught.value).splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("tiny", ["train_dit.tasks={vace: 1}"], "tiny cannot do it: it has no control blocks"),
        (
            "tiny",
            ["train_dit.vace.composite=0"],
            "train_dit.vace: has no effect on task t2v; leave",
        ),
        (
            "tiny-vace",
            ["train_dit.conditions.dropout=0.1"],
            "conditions.dropout: got 0.1, which task vace does not use",
        ),
    ],
)
def test_keys_that_do_not_fit_the_variant_are_one_line(recipe, overrides, message):
    with pytest.raises(RecipeError) as caught:
        load_checked(recipe, overrides, ["train_dit"])
    [line] = str(caught.value).splitlines()
    assert message in line
