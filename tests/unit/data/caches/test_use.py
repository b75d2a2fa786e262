"""Cached tensors that no run uses any more."""

import shutil

import pytest
import torch
from typer.testing import CliRunner

from wanctl.cli.main import app
from wanctl.data.cache import LatentCache
from wanctl.data.caches.use import cache_uses, delete_unused, record_use
from wanctl.data.dataset import DatasetDir

TENSOR = torch.zeros(250)


@pytest.fixture
def dataset(tmp_path):
    """Two shards of three tensors, used by two runs but for `c`, `d`, `e` and `f`."""
    path = tmp_path / "dataset"
    DatasetDir.create_or_open(path)
    for keys in ("abc", "def"):
        with LatentCache(path / "latents", "vae@1") as cache:
            for key in keys:
                cache.put(key, TENSOR + ord(key))
    for name, keys in (("one", "ab"), ("two", "b")):
        (tmp_path / name).mkdir()
        record_use(path / "latents/vae@1", tmp_path / name, keys)
    return path


def test_entries_that_no_run_uses_are_named_and_deleted(dataset, tmp_path):
    (use,) = cache_uses(dataset)
    assert (use.num_tensors, use.num_bytes) == (6, 6000)
    assert use.unused == set("cdef")
    assert use.unused_bytes == 4000
    assert [run.rpartition("/")[2] for run in sorted(use.runs)] == ["one", "two"]
    reading = LatentCache(dataset / "latents", "vae@1")
    delete_unused(use)
    assert torch.equal(reading.get("a"), TENSOR + ord("a")), "a run that is reading goes on"
    (use,) = cache_uses(dataset)
    assert (use.num_tensors, use.unused) == (2, frozenset())
    assert len([*dataset.rglob("*.safetensors")]) == 1
    again = LatentCache(dataset / "latents", "vae@1")
    assert torch.equal(again.get("b"), TENSOR + ord("b"))
    assert again.missing("abcdef") == list("cdef")


def test_a_run_that_is_deleted_uses_nothing(dataset, tmp_path):
    shutil.rmtree(tmp_path / "one")
    (use,) = cache_uses(dataset)
    assert use.unused == set("acdef")
    record_use(dataset / "latents/vae@1", tmp_path / "two", "cd")
    (use,) = cache_uses(dataset)
    assert use.unused == set("abef")


def test_nothing_is_unused_where_no_run_has_said_what_it_uses(dataset):
    shutil.rmtree(dataset / "latents/vae@1/uses")
    (use,) = cache_uses(dataset)
    assert not use.is_recorded
    assert not use.unused


def test_the_command_lists_and_deletes(dataset):
    arguments = ["data", "cache", "--recipe", "tiny", "--set", f"dataset.path={dataset}"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "latents/vae@1" in shown.output
    assert len([*dataset.rglob("*.safetensors")]) == 2
    CliRunner().invoke(app, [*arguments, "--delete-unused"])
    assert LatentCache(dataset / "latents", "vae@1").missing("abcdef") == list("cdef")
