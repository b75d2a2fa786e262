"""The noise of an output depends on its seed and on the step, not on its neighbours."""

from types import SimpleNamespace

import torch

from wanctl.distributed.context import SingleProcessContext
from wanctl.sample.denoise.noise import BatchNoise

SHAPE = (4, 3, 2, 2)


def draws(*seeds, count=3):
    requests = [SimpleNamespace(seed=seed, noise_device="cpu") for seed in seeds]
    noise = BatchNoise(requests, SHAPE, SingleProcessContext(torch.device("cpu")))
    return [noise.draw() for _ in range(count)]


def test_every_step_has_other_noise_and_a_second_run_the_same():
    first, again = draws(3), draws(3)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert first[0].shape == (1, *SHAPE)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    generator = torch.Generator().manual_seed(3)  # the official code's initial noise
    assert torch.equal(first[0][0], torch.randn(SHAPE, generator=generator))


def test_the_batch_changes_no_output():
    together, alone = draws(7, 3, 5), draws(3)
    for step in range(3):
        assert torch.equal(together[step][1], alone[step][0])


def test_noise_that_the_published_program_drops_is_drawn():
    request = SimpleNamespace(seed=3, noise_device="cpu")
    noise = BatchNoise([request], SHAPE, SingleProcessContext(torch.device("cpu")), dropped=2)
    whole = torch.randn(4, 5, 2, 2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(noise.draw()[0], whole[:, :3])
