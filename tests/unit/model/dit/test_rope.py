import pytest
import torch

from wanctl.model.dit.rope import RopeCache, axis_widths, rope_table, rotate, rotate_complex

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("head_dim", "widths"),
    [(128, (44, 42, 42)), (32, (12, 10, 10)), (6, (2, 2, 2)), (4, (4, 0, 0))],
)
def test_every_channel_belongs_to_one_axis(head_dim, widths):
    assert axis_widths(head_dim) == widths
    assert sum(widths) == head_dim
    table = rope_table((2, 3, 5), head_dim, torch.float32, CPU)
    assert table.cos.shape == (30, 1, head_dim // 2)


def test_angles_are_position_times_frequency():
    table = rope_table((3, 4, 5), 12, torch.float64, CPU)  # four channels, two pairs, an axis
    frame, row, column = 2, 3, 4
    token = (frame * 4 + row) * 5 + column
    frequencies = torch.tensor([1.0, 0.01], dtype=torch.float64)
    angles = torch.cat([position * frequencies for position in (frame, row, column)])
    torch.testing.assert_close(table.cos[token, 0], angles.cos())
    torch.testing.assert_close(table.sin[token, 0], angles.sin())


def test_products_depend_on_distance_only():
    query, key = torch.randn(2, 1, 1, 1, 24, dtype=torch.float64).unbind(0)
    table = rope_table((9, 1, 1), 24, torch.float64, CPU)
    queries, keys = (rotate(x.expand(1, 9, 1, 24), table)[0, :, 0] for x in (query, key))
    products = queries @ keys.T
    for offset in (-3, 0, 5):
        diagonal = products.diagonal(offset)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


@pytest.mark.parametrize("inplace", [False, True])
def test_complex_formulation_is_the_real_one(inplace):
    x = torch.randn(2, 24, 3, 16)
    table = rope_table((2, 3, 4), 16, torch.float32, CPU)
    expected = rotate(x, table)
    got = rotate_complex(x, table, inplace=inplace)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert (got.data_ptr() == x.data_ptr()) == inplace


def test_table_is_kept_until_the_grid_changes():
    cache = RopeCache(16, torch.float32)
    first = cache.get((1, 2, 3), CPU)
    assert cache.get((1, 2, 3), CPU) is first
    assert cache.get((1, 3, 2), CPU).cos.shape == first.cos.shape
    assert cache.get((1, 2, 3), CPU) is not first
