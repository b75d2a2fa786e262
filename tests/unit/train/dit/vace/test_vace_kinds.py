"""Every kind: the task VACE takes what it draws, and makes of it what the kind promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wanctl.model.shapes import PixelShape
from wanctl.model.variants import RunDefaults, VAEShape
from wanctl.tasks.inputs import RequestedSize
from wanctl.tasks.vace.controls import make_control
from wanctl.tasks.vace.masks import FORMS
from wanctl.tasks.vace.task import VACE
from wanctl.train.dit.vace.draft import Draft
from wanctl.train.dit.vace.kinds import KINDS, TOGETHER, Window, draw_draft

TASK = VACE()
DEFAULTS = RunDefaults(steps=1, shift=1.0, guide_scale=1.0, frames=5, fps=16.0, height=32, width=32)
GREY = 127 / 127.5 - 1


def values(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def drawn(frames, options, seed=0):
    """What the task makes of a drawn window; and the draft and its kinds."""
    draft, kinds = draw_draft(Window(frames, np.random.default_rng(seed), options))
    inputs = draft.inputs(frames, 16.0, ())
    requested = RequestedSize(*frames.shape[:3], exact=True)
    size = TASK.size(inputs, requested, DEFAULTS, VAEShape())  # refuses what sampling would refuse
    assert size == PixelShape(*frames.shape[:3])
    return TASK.source(inputs, size), draft, kinds


def check_kept(source, frames):
    """All that is not generated is the footage, to the bit."""
    kept = (source.mask == 0).expand_as(source.video)
    assert torch.equal(source.video[kept], values(frames)[kept])
    assert set(source.mask.unique().tolist()) <= {0.0, 1.0}


SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_inpainting_keeps_the_footage_around_a_grey_region(window, control_options, seed):
    source, draft, kinds = drawn(window[0], control_options("inpaint"), seed)
    assert kinds == ("inpaint",)
    assert draft.form in FORMS
    check_kept(source, window[0])
    inside = (source.mask == 1).expand_as(source.video)
    assert torch.allclose(source.video[inside], torch.tensor(GREY))
    assert 0.005 < source.mask.mean() < 0.8


def test_each_form_of_a_drawn_mask_holds_the_one_before(window, control_options):
    rng = np.random.default_rng(1)
    options = control_options("inpaint", mask_shapes={"strokes": 1.0})
    draft, _ = draw_draft(Window(window[0], rng, options))
    masks = []
    for form, expand in (*((form, 0.0) for form in FORMS), *((form, 0.1) for form in FORMS)):
        inputs = replace(draft, form=form, expand=expand).inputs(window[0], 16.0, ())
        masks.append(TASK.source(inputs, PixelShape(9, 64, 96)).mask > 0.5)
    original, hull, box, grown, hull_grown, box_grown = masks
    areas = [mask.float().mean().item() for mask in masks]
    for small, large in ((original, hull), (hull, box), (original, grown), (hull, hull_grown),
                         (box, box_grown), (grown, hull_grown)):  # fmt: skip
        assert (large >= small).all()
    assert areas[0] < areas[1] < areas[2] < areas[5]


@pytest.mark.parametrize("seed", SEEDS)
def test_outpainting_keeps_a_rectangle_of_the_footage(window, control_options, seed):
    source, draft, _ = drawn(window[0], control_options("outpaint"), seed)
    check_kept(source, window[0])
    left, top, right, bottom = draft.border
    kept = torch.zeros(64, 96, dtype=torch.bool)
    kept[top : 64 - bottom, left : 96 - right] = True
    assert torch.equal(source.mask[0] == 0, kept.expand(9, -1, -1))
    assert 0.15 < kept.float().mean() < 0.95
    assert torch.allclose(
        source.video[(source.mask == 1).expand_as(source.video)], torch.tensor(GREY)
    )


def test_extension_keeps_whole_frames_at_every_place(window, control_options):
    seen = {"first": 0, "last": 0, "inside": 0, "image": 0}
    for seed in range(20):
        source, draft, _ = drawn(window[0], control_options("extension"), seed)
        check_kept(source, window[0])
        known = source.mask.flatten(2)[0].eq(0).all(dim=1)
        assert torch.equal(known, source.mask.flatten(2)[0].eq(0).any(dim=1))
        assert known.tolist() == draft.known.tolist()
        assert 1 <= known.sum() <= 8
        seen["first"] += bool(known[0])
        seen["last"] += bool(known[-1])
        seen["inside"] += bool(known[1:-1].any() and not known[0] and not known[-1])
        seen["image"] += draft.inputs(window[0], 16.0, ()).image is not None
    assert min(seen.values()) >= 2
    assert seen["first"] < 18


@pytest.mark.parametrize("kind", ["grey", "scribble", "flow"])
def test_computed_controls_are_those_of_sampling(window, control_options, kind):
    source, _, _ = drawn(window[0], control_options(kind))
    expected = values(np.stack(list(make_control(kind, window[0]))))
    assert torch.equal(source.video, expected)
    assert source.mask.eq(1).all()
    assert not torch.equal(expected, values(window[0]))


def test_a_layout_draws_a_box_around_the_subject(window, control_options):
    frames, disc = window
    source, draft, _ = drawn(frames, control_options("layout"), seed=3)
    assert source.mask.eq(1).all()
    for t in (0, 4, 8):
        left, top, right, bottom = draft.tracks[0].at(t) * (96, 64, 96, 64)
        x, y = np.flatnonzero(disc[t].any(0)), np.flatnonzero(disc[t].any(1))
        assert np.abs(np.array([left - x[0], right - x[-1], top - y[0], bottom - y[-1]])).max() < 8


def test_text_leaves_everything_to_the_model(window, control_options):
    source, _, _ = drawn(window[0], control_options("text"))
    assert not source.video.any()
    assert source.mask.eq(1).all()


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in TOGETHER for b in TOGETHER[a]])
def test_two_kinds_together_leave_what_both_keep(window, control_options, first, second):
    options = control_options(composite=1.0)
    options = replace(options, kinds={first: 1.0, second: 1e-9}, mask_area=(0.05, 0.2))
    for seed in range(2):
        source, draft, kinds = drawn(window[0], options, seed)
        assert kinds == (first, second)
        check_kept(source, window[0])
        assert source.mask.mean() > 0
        if draft.control:
            control = values(np.stack(list(make_control(draft.control, window[0]))))
            inside = (source.mask == 1).expand_as(source.video)
            if draft.control != "flow":  # whose colours depend on the frames before
                assert torch.equal(source.video[inside], control[inside])


def test_an_image_is_drawn_from_as_well(control_options, window):
    image = window[0][:1]
    for kind in ("text", "inpaint", "outpaint", "grey", "scribble", "layout"):
        source, _, _ = drawn(image, control_options(kind), seed=2)
        assert source.video.shape == (3, 1, 64, 96)
    for seed in range(8):
        _, _, (kind,) = drawn(image, control_options(), seed)
        assert KINDS[kind].min_frames == 1


def test_kinds_are_drawn_by_their_weights(window, control_options):
    options = control_options()
    options = replace(options, kinds={"text": 3.0, "grey": 1.0, "flow": 0.0})
    counts = dict.fromkeys(options.kinds, 0)
    for seed in range(200):
        _, (kind,) = draw_draft(Window(window[0], np.random.default_rng(seed), options))
        counts[kind] += 1
    assert counts["flow"] == 0
    assert 125 <= counts["text"] <= 175  # 150, deviation 6


def test_an_empty_draft_is_text_alone(window):
    assert Draft().inputs(window[0], 16.0, ()).present == ()
