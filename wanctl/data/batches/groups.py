"""Groups of rows that share a value, directly or over other rows."""

from collections.abc import Hashable, Sequence


def joined_groups(rows: Sequence[tuple[Hashable | None, ...]]) -> list[int]:
    """The group of each row: rows are joined that have the same value in the same column.

    Args:
        rows: the values of each row; None joins nothing.

    Returns:
        for each row the index of one row of its group.
    """
    parents = list(range(len(rows)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first: dict[tuple[int, Hashable], int] = {}
    for index, values in enumerate(rows):
        for column, value in enumerate(values):
            if value is not None:
                parents[root(index)] = root(first.setdefault((column, value), index))
    return [root(index) for index in range(len(rows))]
