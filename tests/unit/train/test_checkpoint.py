import errno
import json
import os

import pytest
import torch

from wanctl.atomic import WriteError
from wanctl.train import checkpoint
from wanctl.train.checkpoint import newest_checkpoint, prune_checkpoints, write_checkpoint


def write(folder, step, value=1.0):
    tensors = {"model": {"w": torch.full((3,), value)}, "optimizer": {"step/w": torch.tensor(2.0)}}
    return write_checkpoint(folder, step, tensors, identity={"dim": 8}, state={"updates": step})


def test_what_was_written_is_read_back(tmp_path):
    write(tmp_path, 7, 0.1)
    found = newest_checkpoint(tmp_path)
    assert (found.step, found.identity, found.state) == (7, {"dim": 8}, {"updates": 7})
    assert torch.equal(found.tensors("model")["w"], torch.full((3,), 0.1))
    assert found.tensors("ema") == {}
    assert newest_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f")),
        ("optimizer.safetensors", lambda path: path.unlink()),
        ("manifest.json", lambda path: path.unlink()),
        ("manifest.json", lambda path: path.write_text(path.read_text()[:-9])),
        ("manifest.json", lambda path: path.write_text(json.dumps({"format": 1}))),
        ("manifest.json", lambda path: path.write_text("[]")),
    ],
)
def test_damage_is_noticed_and_the_one_before_is_used(tmp_path, caplog, name, change):
    write(tmp_path, 100)
    change(write(tmp_path, 200) / name)
    assert newest_checkpoint(tmp_path).step == 100
    assert "step-000200 is damaged" in caplog.text


def test_leftovers_of_a_killed_write_do_not_count(tmp_path):
    write(tmp_path, 1)
    (tmp_path / ".tmp-step-000002").mkdir()
    (tmp_path / ".tmp-step-000002/model.safetensors").write_bytes(b"half")
    assert newest_checkpoint(tmp_path).step == 1
    write(tmp_path, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000001", "step-000003"]


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(tmp_path):
    (write(tmp_path, 5) / "manifest.json").unlink()
    write(tmp_path, 5, 2.0)
    assert newest_checkpoint(tmp_path).tensors("model")["w"][0] == 2.0


def test_only_the_newest_are_kept_also_past_a_million_steps(tmp_path):
    for step in (999_999, 1_000_000, 1_000_001):
        write(tmp_path, step)
    prune_checkpoints(tmp_path, 2)
    assert newest_checkpoint(tmp_path).step == 1_000_001
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("step", ["save_tensors", "_sha256", "_fsync"])
def test_a_full_disk_names_the_checkpoint_and_leaves_nothing_of_it(tmp_path, monkeypatch, step):
    """The system reports a full disk without the name of the file."""
    write(tmp_path, 1)

    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, step, full)
        with pytest.raises(WriteError, match=r"step-000002: cannot write: the disk is full"):
            write(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    newest = newest_checkpoint(tmp_path)
    assert newest
    assert newest.step == 1
