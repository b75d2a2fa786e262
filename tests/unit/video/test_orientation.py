"""Display matrices: all eight ways to lay a rectangle upon itself, and what is none of them."""

import numpy as np
import pytest

from tests.unit.video.synthetic.maker import FootageMaker
from tests.unit.video.synthetic.reading import read
from tests.unit.video.synthetic.recipes import FRAMES, HEIGHT, MATRICES, WIDTH, Recipe, number_of
from wanctl.exchange.media import probe_media
from wanctl.video.orientation import UPRIGHT, Orientation, from_matrix
from wanctl.video.probe import VideoError, scan

ONE = 1 << 16


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return FootageMaker(tmp_path_factory.mktemp("turned"))


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_undoes_how_the_frame_was_stored(name):
    numbers, store = MATRICES[name]
    picture = np.arange(6).reshape(2, 3)
    orientation = from_matrix(*(number * ONE for number in numbers))
    assert np.array_equal(orientation.apply(store(picture)), picture)
    assert orientation.turned == (store(picture).shape != picture.shape)


def test_all_eight_matrices_are_told_apart():
    found = {from_matrix(*(ONE * n for n in numbers)) for numbers, _ in MATRICES.values()}
    assert found | {UPRIGHT} == {
        Orientation(turn, mirrored) for turn in (0, 90, 180, 270) for mirrored in (False, True)
    }


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_footage_is_read_as_players_show_it(maker, name, container):
    path = maker.make(Recipe(container, "h264", 2, matrix=name))
    found = read(path)
    info = found.scan.info
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert [number_of(frame) for frame in found.whole] == list(range(FRAMES))
    assert found.numbers == list(range(FRAMES))
    assert {(row["rotation"], row["mirrored"]) for row in found.rows} == {
        (info.rotation, info.mirrored)
    }
    # the shot detector's strip is upright as well: its lower left corner is bright
    assert found.scan.strip[0][20, 3].mean() > 180 > found.scan.strip[0][20, 44].mean()


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 0, 0, 0), UPRIGHT),
        ((2 * ONE, 0, 0, 2 * ONE), UPRIGHT),
        ((0, 2 * ONE, -ONE, 0), Orientation(90)),
        ((ONE, 700, -700, ONE), UPRIGHT),  # 0.6 degrees
        ((-ONE, 0, 0, ONE // 2), Orientation(0, mirrored=True)),
    ],
)
def test_scale_and_rounding_do_not_turn_a_frame(matrix, expected):
    assert from_matrix(*matrix) == expected


@pytest.mark.parametrize(
    "matrix",
    [
        (46341, 46341, -46341, 46341),
        (ONE, 0, ONE, ONE),
        (ONE, 3000, -3000, ONE),
        (ONE, ONE, ONE, 0),
    ],
)
def test_other_angles_and_shear_are_refused(matrix):
    with pytest.raises(VideoError, match=r"display matrix turns frames by .* or shears them"):
        from_matrix(*matrix)


def test_a_file_that_is_turned_by_45_degrees_is_refused_by_name(maker):
    path = maker.make(Recipe("mp4", "h264", 2, matrix="half"))
    data = path.read_bytes()
    half = b"".join(int(n * ONE).to_bytes(4, "big", signed=True) for n in (-1, 0, 0, 0, -1))
    assert data.count(half) == 1
    slanted = (46341, 46341, 0, -46341, 46341)
    other = path.with_name("slanted.mp4")
    numbers = b"".join(n.to_bytes(4, "big", signed=True) for n in slanted)
    other.write_bytes(data.replace(half, numbers))
    with pytest.raises(VideoError, match=r"slanted\.mp4: its display matrix turns frames by 45\.0"):
        scan(other)


@pytest.mark.parametrize("name", ["left-right", "upside-down", "transposed", "half"])
def test_data_check_says_that_loaders_which_ignore_the_matrix_show_another_picture(maker, name):
    info = probe_media(maker.make(Recipe("mp4", "h264", 2, matrix=name)))
    assert (info.width, info.height, info.num_frames, info.rotated) == (WIDTH, HEIGHT, FRAMES, True)


def test_data_check_counts_frames_without_pts(maker):
    info = probe_media(maker.make(Recipe("avi", "h264", 2)))
    assert (info.num_frames, info.fps, info.vfr) == (FRAMES, pytest.approx(25), False)
