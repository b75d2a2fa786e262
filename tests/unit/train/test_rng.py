import torch

from wanctl.train.rng import keyed_generator, keyed_seed


def test_every_part_of_the_key_counts():
    keys = [
        (0, "noise", 1, 2),
        (0, "noise", 2, 1),
        (0, "sigma", 1, 2),
        (1, "noise", 1, 2),
        (0, "noise", 12),
    ]
    assert len({keyed_seed(*key) for key in keys}) == len(keys)


def test_equal_keys_give_equal_numbers_today_and_tomorrow():
    first, second = (torch.randn(3, generator=keyed_generator(0, "noise", 5)) for _ in range(2))
    assert torch.equal(first, second)
    assert keyed_seed(0, "noise", 5) == 474399549714967166
