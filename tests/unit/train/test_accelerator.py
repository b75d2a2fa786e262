from types import SimpleNamespace

import pytest
import torch

from wanctl.errors import UserError
from wanctl.train import accelerator
from wanctl.train.accelerator import Processes, start_processes

CPU = torch.device("cpu")


def test_each_process_has_the_device_of_its_rank(monkeypatch):
    """Before, every rank exported and encoded on the first device."""
    chosen = []
    state = SimpleNamespace(device=torch.device("cuda:1"), process_index=1, num_processes=2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(accelerator, "pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(accelerator, "PartialState", lambda **_: state)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    processes = start_processes("auto")
    assert processes == Processes(torch.device("cuda:1"), 1, 2, 2)
    assert chosen == [torch.device("cuda:1")]
    assert not processes.is_main


def test_one_process_has_the_device_of_the_recipe(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert start_processes("cpu") == Processes(CPU)
    with pytest.raises(UserError, match="got 'tpu'"):
        start_processes("tpu")


def test_shares_cover_all_items_once():
    items = [f"clip{i}" for i in range(10)]
    shares = [Processes(CPU, index, 3).share(items) for index in range(3)]
    assert sorted(item for share in shares for item in share) == items
    assert [len(share) for share in shares] == [4, 3, 3]
    assert Processes(CPU).gather(items) == items


@pytest.mark.parametrize(("port", "warned"), [("29500", True), (None, False)])
def test_processes_that_accelerate_did_not_start_are_reported(monkeypatch, caplog, port, warned):
    """`accelerate launch --cpu --num_processes 2` leaves no other trace of the 2."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    if port:
        monkeypatch.setenv("MASTER_PORT", port)
    start_processes("cpu")
    assert ("one process only" in caplog.text) is warned
