"""`wanctl sample` with models of the Fun family: from files to latents."""

import numpy as np
import pytest
from PIL import Image

from tests.integration.small_variants import sample_small
from wanctl.video.encode import write_video


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A start picture, a reference, two control videos and a file of camera poses."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for name in ("start", "reference"):
        coarse = rng.integers(0, 255, (4, 6, 3), np.uint8)
        Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(folder / f"{name}.png")
    for name in ("edges", "poses"):
        coarse = rng.integers(0, 255, (5, 4, 6, 3), np.uint8)
        write_video(folder / f"{name}.mp4", coarse.repeat(8, axis=1).repeat(8, axis=2), 16)
    lines = ["https://example.org"]
    for frame in range(5):
        pose = (1, 0, 0, 0.02 * frame, 0, 1, 0, 0, 0, 0, 1, 0)
        numbers = (frame, 0.53, 0.95, 0.5, 0.5, 0, 0, *pose)
        lines.append(" ".join(map(str, numbers)))
    (folder / "path.txt").write_text("\n".join(lines))
    return folder


def changed(one, other):
    return (one[0] - other[0]).abs().max() > 1e-4


def sides(name):
    """Keys of an output of 4 x 6 latents."""
    return ("sample.height=64", "sample.width=96") if "-5b-" in name else ()


@pytest.mark.parametrize(
    "name",
    [
        "wan2.1-fun-v1.1-1.3b-control",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "wan2.1-fun-1.3b-control",
                "wan2.2-fun-a14b-control",
                "wan2.2-fun-5b-control",
            )
        ),
    ],
)
def test_a_control_video_steers_the_output(name, files, tmp_path, monkeypatch):
    def run(*keys):
        return sample_small(tmp_path, monkeypatch, name, *sides(name), *keys, steps=1)

    edges = f"sample.video={files / 'edges.mp4'}"
    plain = run(edges)
    latents, header = plain
    assert latents.shape == (1, 48 if "-5b-" in name else 16, 2, 4, 6)
    assert (header["task"], "video" in header["inputs"]) == ("control", True)
    assert changed(run(f"sample.video={files / 'poses.mp4'}"), plain)
    assert changed(run(edges, f"sample.image={files / 'start.png'}"), plain)
    if name != "wan2.1-fun-1.3b-control":
        assert changed(run(edges, f"sample.references=[{files / 'reference.png'}]"), plain)


@pytest.mark.parametrize(
    "name",
    [
        "wan2.1-fun-v1.1-1.3b-control-camera",
        pytest.param("wan2.2-fun-a14b-control-camera", marks=pytest.mark.slow),
        "wan2.2-fun-5b-control-camera",
    ],
)
def test_a_camera_path_steers_the_output(name, files, tmp_path, monkeypatch):
    def run(path):
        return sample_small(
            tmp_path, monkeypatch, name, f"sample.image={files / 'start.png'}",
            f"sample.camera={path}", *sides(name), steps=1,
        )  # fmt: skip

    left, right = (run(f"{{moves: [{{move: pan-{side}}}]}}") for side in ("left", "right"))
    latents, header = left
    assert latents.shape == (1, 48 if "-5b-" in name else 16, 2, 4, 6)
    assert header["task"] == "camera"
    assert changed(left, right)
    assert changed(run(f"{{path: {files / 'path.txt'}}}"), left)


@pytest.mark.parametrize("name", ["wan2.1-fun-1.3b-inp", "wan2.2-fun-5b-inp"])
def test_inp_starts_from_an_image(name, files, tmp_path, monkeypatch):
    start, other = (
        sample_small(
            tmp_path, monkeypatch, name, f"sample.image={files / f'{each}.png'}", *sides(name)
        )
        for each in ("start", "reference")
    )
    assert start[1]["task"] == "i2v"
    assert changed(start, other)
