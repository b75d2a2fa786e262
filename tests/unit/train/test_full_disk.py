"""A disk that is full while the loop writes; checkpoints are in test_resume.py."""

import errno
import os

import numpy as np
import pytest
import torch

from wanctl.atomic import WriteError
from wanctl.train.loop import train
from wanctl.train.objective import Preview

CPU = torch.device("cpu")


def no_space(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("PIL.Image.Image.save", "previews/step-000000.png"),
        ("wanctl.video.encode._encode", "previews/step-000000-1.mp4"),
        ("pathlib.Path.write_bytes", "previews.html"),
        ("tensorboard.compat.tensorflow_stub.io.gfile.LocalFileSystem.append", "tracker"),
    ],
)
def test_what_cannot_be_written_is_named_in_one_line(
    toy, tmp_path, toy_options, monkeypatch, capfd, place, name
):
    class Videos(toy):
        def preview(self, item, device):
            frames = 1 + name.endswith("mp4")
            return Preview(np.zeros((frames, 16, 16, 3), np.uint8), "", 8.0)

    monkeypatch.setattr(place, no_space)
    with pytest.raises(WriteError) as error:
        train(Videos(), tmp_path, toy_options(trackers=("tensorboard",), log_every=1), device=CPU)
    assert f"/{name}: cannot write: the disk is full; free some space" in str(error.value)
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err  # of a thread of TensorBoard


@pytest.mark.parametrize("name", ["metrics.jsonl", "speed.jsonl"])
def test_figures_that_cannot_be_written_are_named(toy, tmp_path, toy_options, monkeypatch, name):
    opened = type(tmp_path).open

    def refuse(path, *arguments, **named):
        return no_space() if path.name == name else opened(path, *arguments, **named)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    with pytest.raises(WriteError, match=f"/{name}: cannot write: the disk is full"):
        train(toy(), tmp_path, toy_options(), device=CPU)


def test_a_run_goes_on_when_there_is_space_again(toy, tmp_path, toy_options, monkeypatch, lines):
    train(toy(), tmp_path / "full", toy_options(), device=CPU)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", no_space)  # a quota is found out when data reaches the disk
        with pytest.raises(WriteError):
            train(toy(), tmp_path / "stopped", toy_options(), device=CPU)
    train(toy(), tmp_path / "stopped", toy_options(), device=CPU)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "full")
