"""Point tracks: files, cells of the latents, the task, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.tasks.test_image_channels import SIZE, TEXTS, VAE, Encoders, picture
from wanctl.errors import UserError
from wanctl.model.shapes import PixelShape
from wanctl.model.variant_table import VARIANTS
from wanctl.tasks.inputs import Inputs, RequestedSize
from wanctl.tasks.point_tracks import PointTracks, read_tracks
from wanctl.tasks.subjects.tracks import move_latents
from wanctl.tasks.table import TASKS

TRACKS, MOVE = TASKS["tracks"], VARIANTS["wan-move-14b-480p"]
FRAMES, POINTS = 9, 2


def tracks(points=None, visible=None):
    """Two points that move 1 pixel to the right per frame, from (4, 4) and (20, 20)."""
    if points is None:
        points = np.array([[4.0, 4.0], [20.0, 20.0]]) + np.arange(FRAMES)[:, None, None] * [1, 0]
    points = np.asarray(points, float)
    seen = np.ones(points.shape[:2], bool) if visible is None else np.asarray(visible, bool)
    return PointTracks(points, seen, "t.npz")


def small(dit=MOVE.dit):
    return Encoders(replace(dit, in_channels=10, out_channels=3, image_dim=None))


def inputs(**more):
    image = torch.linspace(-1, 1, 3 * 32 * 48).view(3, 32, 48)
    return Inputs(**{"image": image, "tracks": tracks(), **more})


@pytest.mark.parametrize("kind", ["npz", "json", "npy", "batched"])
def test_files_of_every_kind_give_the_same_tracks(tmp_path, kind):
    expected = tracks()
    path = tmp_path / f"t.{'npz' if kind == 'batched' else kind}"
    stored = {"tracks": expected.points, "visibility": expected.visible}
    if kind == "npz":
        np.savez(path, **stored)
    elif kind == "batched":  # as the published examples are
        np.savez(path, **{key: value[None] for key, value in stored.items()})
    elif kind == "npy":
        np.save(path, expected.points[None].astype(np.float32))
    else:
        path.write_text(json.dumps({key: value.tolist() for key, value in stored.items()}))
    got = read_tracks(path, "t")
    assert np.array_equal(got.points, expected.points)
    assert np.array_equal(got.visible, expected.visible)


GOOD = tracks().points
NAN = np.where(np.arange(FRAMES)[:, None, None] == 3, np.nan, GOOD)
BAD = {
    "points": ({"tracks": GOOD[..., :1]}, r"`tracks` has the shape \(9, 2, 1\); need \(frames, "),
    "flat": ({"tracks": GOOD.ravel()}, r"`tracks` has the shape \(36,\)"),
    "empty": ({"tracks": GOOD[:, :0]}, r"`tracks` has the shape \(9, 0, 2\)"),
    "more frames": (
        {"tracks": GOOD, "visibility": np.ones((10, 2))},
        r"`visibility` has the shape \(10, 2\); need \(9, 2\)",
    ),
    "nan": ({"tracks": NAN}, "frame 3 holds NaN or infinity at a visible point"),
    "infinite": ({"tracks": np.where(np.isnan(NAN), np.inf, NAN)}, "frame 3 holds NaN"),
    "nan visibility": (
        {"tracks": GOOD, "visibility": np.full((9, 2), np.nan)}, "frame 0 holds NaN",
    ),
    "words": ({"tracks": np.array(["a", "b"])}, "`tracks` is no array of numbers"),
    "another name": ({"points": GOOD}, "holds no `tracks`, only points"),
    "objects": ({"tracks": np.array([None, {}])}, "is no file of numpy's arrays|holds objects|Obj"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_array_is_one_line(tmp_path, name):
    arrays, message = BAD[name]
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        read_tracks(tmp_path / "t.npz", "t.npz")
    assert str(caught.value).startswith("t.npz: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.npz", b"PK no zip", "t.npz: "),
        ("t.npy", b"\x93NUMPY\x01", "t.npy: "),
        ("t.npy", b"words", "t.npy: is no file of numpy's arrays, or holds objects"),
        ("t.json", b"{", r"t.json: is no JSON \(line 1\)"),
        ("t.json", b"[1]", "t.json: is no JSON object"),
        ("t.json", b"\xff\xfe", "t.json: cannot be read as tracks"),
        ("t.json", b'{"tracks": [[1], [1, 2]]}', "t.json: `tracks` is no array of numbers"),
        ("t.txt", b"", r"t.txt: is no file of tracks; need one of \.npz, \.npy, \.json"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_tracks(tmp_path / name, name)
    assert "\n" not in str(caught.value)


def test_nan_where_a_point_is_not_visible_is_no_mistake(tmp_path):
    np.savez(tmp_path / "t.npz", tracks=NAN, visibility=np.isfinite(NAN).all(axis=2))
    assert not read_tracks(tmp_path / "t.npz", "t").visible[3].any()


def test_the_latent_of_the_first_cell_goes_where_the_point_goes():
    """The published edit, written as loops over points and latent frames."""
    torch.manual_seed(0)
    latents = torch.randn(3, 3, 4, 6)
    rng = np.random.default_rng(1)
    points = rng.uniform(0, [48, 32], (FRAMES, 5, 2))
    visible = rng.random((FRAMES, 5)) > 0.3
    visible[0] = True
    points[4, 0] = (-3, 4)  # has left the picture
    expected, written = latents.clone(), {}
    for point in range(5):
        x0, y0 = points[0, point] // 8
        for frame in (1, 2):
            x, y = points[4 * frame, point]
            if visible[4 * frame, point] and 0 <= x < 48 and 0 <= y < 32:
                cell = (frame, int(y // 8), int(x // 8))
                written.setdefault(cell, []).append(latents[:, 0, int(y0), int(x0)])
    for (frame, y, x), sources in written.items():
        if len(sources) == 1:
            expected[:, frame, y, x] = sources[0]
    got = latents.clone()
    move_latents(got, tracks(points, visible), (32, 48))
    shared = [cell for cell, sources in written.items() if len(sources) > 1]
    for frame, y, x in shared:
        source = got[:, frame, y, x]
        assert any(torch.equal(source, each) for each in written[frame, y, x])
        expected[:, frame, y, x] = source
    assert len(written) > 4
    assert torch.equal(got, expected)


def test_points_in_one_cell_are_settled_the_same_way_every_time():
    points = np.array([[[4.0, 4.0], [20.0, 4.0], [36.0, 4.0]]] + [[[44.0, 28.0]] * 3] * 8)
    results = []
    for _ in range(2):
        latents = torch.arange(3 * 4 * 6.0).view(1, 3, 4, 6)
        move_latents(latents, tracks(points), (32, 48))
        results.append(latents)
    assert torch.equal(*results)
    assert results[0][0, 1, 3, 5] in (0, 2, 4)


def test_only_the_latents_of_the_prompt_s_pass_are_edited():
    encode = small()
    got = TRACKS.conditions(TEXTS, 6, inputs(), SIZE, encode)
    plain = TASKS["i2v"].conditions(TEXTS, 6, Inputs(image=inputs().image), SIZE, encode)
    assert torch.equal(got.negative["channels"], plain.channels)
    assert torch.equal(got.channels[:, :4], plain.channels[:, :4])
    assert torch.equal(got.channels[:, :, 0], plain.channels[:, :, 0])
    # after 8 frames the second point is one cell further right: from column 2 to column 3
    assert torch.equal(got.channels[:, 4:, 2, 2, 3], plain.channels[:, 4:, 0, 2, 2])
    changed = (got.channels != plain.channels).any(dim=1)
    assert changed.sum(dim=(1, 2, 3)).tolist() == [4, 4]


def test_tracks_follow_the_image_to_another_size_and_to_a_crop():
    big = picture(0.0, (64, 96))
    doubled = replace(tracks(), points=tracks().points * 2)
    got = TRACKS.conditions(TEXTS, 6, Inputs(image=big, tracks=doubled), SIZE, small())
    assert got.channels.shape[2:] == (3, 4, 6)
    wide = torch.linspace(-1, 1, 3 * 32 * 96).view(3, 32, 96)
    # 24 pixels are cut off on the left: a point at 32 is in column 1 and moves to column 2
    points = np.array([[[32.0, 4.0]], *[[[40.0, 4.0]]] * 8])
    chosen = Inputs(image=wide, tracks=tracks(points), exact=True)
    got = TRACKS.conditions(TEXTS, 6, chosen, SIZE, small())
    plain = got.negative["channels"]
    assert torch.equal(got.channels[:, 4:, 2, 0, 2], plain[:, 4:, 0, 0, 1])


@pytest.mark.parametrize(
    ("frames", "held", "expected"), [(None, 9, 9), (9, 9, 9), (None, 81, 81), (121, 121, 121)]
)
def test_the_output_is_as_long_as_the_tracks(frames, held, expected):
    long = tracks(np.repeat(GOOD[:1], held, axis=0))
    requested = RequestedSize(frames, 32, 48)
    size = TRACKS.size(inputs(tracks=long), requested, MOVE.defaults, VAE)
    assert size == PixelShape(expected, 32, 48)


@pytest.mark.parametrize(
    ("points", "visible", "frames", "message"),
    [
        (GOOD[:8], None, None, "tracks: t.npz: has 8 frames; must be 4n"),
        (np.repeat(GOOD[:1], 85, axis=0), None, None, "has 85 frames and the model makes 81; say"),
        (GOOD, None, 13, "tracks: t.npz: has 9 frames and sample.frames is 13"),
        (GOOD, None, 5, "tracks: t.npz: has 9 frames and sample.frames is 5"),
        (GOOD + 40, None, 9, r"track 1 starts at \(60, 60\), outside the image of 48x32|track 0"),
        (GOOD, np.arange(9)[:, None] + [[0, 0]] > 0, 9, "no track is visible in the first frame"),
        (GOOD, np.arange(9)[:, None] + [[0, 0]] < 1, 9, "no track is visible in the first frame"),
    ],
)
def test_tracks_that_do_not_fit_are_one_line(points, visible, frames, message):
    chosen = inputs(tracks=tracks(points, visible))
    with pytest.raises(UserError, match=message):
        TRACKS.size(chosen, RequestedSize(frames, 32, 48), MOVE.defaults, VAE)


def test_tracks_that_cannot_be_followed_are_counted(caplog):
    visible = np.ones((FRAMES, POINTS), bool)
    visible[0, 1] = False
    move_latents(torch.zeros(1, 3, 4, 6), tracks(visible=visible), (32, 48))
    assert "t.npz: 1 of 2 tracks are not followed" in caplog.text


def test_the_image_to_video_models_refuse_tracks():
    with pytest.raises(UserError, match="tracks: task i2v takes none"):
        TASKS["i2v"].check(inputs())
    with pytest.raises(UserError, match="tracks: task tracks needs one"):
        TRACKS.check(Inputs(image=picture(0.0)))
