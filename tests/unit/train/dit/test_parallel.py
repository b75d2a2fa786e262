"""Processes in groups that compute each sample together."""

import pytest
import torch

from wanctl.errors import ProblemsError
from wanctl.train.accelerator import Processes
from wanctl.train.dit.parallel import check_tokens, group_processes

CPU = torch.device("cpu")


def problem(call, *arguments):
    with pytest.raises(ProblemsError) as caught:
        call(*arguments)
    [(path, message)] = caught.value.problems
    return f"{path}: {message}"


def test_consecutive_processes_are_a_group_and_its_first_one_writes():
    ranks = [
        group_processes(Processes(CPU, index, 8), ulysses=2, ring=2, heads=12) for index in range(8)
    ]
    assert [rank.index for rank in ranks] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [rank.member for rank in ranks] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert {(rank.count, rank.group) for rank in ranks} == {(2, 4)}
    assert [rank.is_main for rank in ranks] == [True, *[False] * 7]
    assert [rank.share("abc") for rank in ranks[2:5]] == [["a", "c"], ["a", "c"], ["b"]]


@pytest.mark.parametrize(
    ("count", "ulysses", "ring", "message"),
    [
        (8, 5, 1, "train_dit.parallel.ulysses: got 5, which does not divide the model's 12 heads "
         "(allowed: 1, 2, 3, 4, 6, 12); give the rest to train_dit.parallel.ring"),
        (8, 2, 3, "train_dit.parallel: got ulysses 2 x ring 3, groups of 6 processes, and 8 "
         "processes run; start a multiple of 6 with `torchrun"),
        (1, 2, 1, "groups of 2 processes, and 1 process runs; start a multiple of 2"),
    ],
)  # fmt: skip
def test_groups_that_cannot_be_made_are_one_line(count, ulysses, ring, message):
    assert message in problem(group_processes, Processes(CPU, 0, count), ulysses, ring, 12)


def test_frames_with_fewer_tokens_than_processes_are_one_line():
    groups = group_processes(Processes(CPU, 0, 16), ulysses=4, ring=4, heads=12)
    check_tokens(groups, {"5x64x64": (2, 4, 4)})
    line = problem(check_tokens, groups, {"5x64x64": (2, 4, 4), "5x32x48": (2, 2, 3)})
    assert line.startswith("train_dit.parallel: bucket 5x32x48 has 6 tokens a frame, and 16")
