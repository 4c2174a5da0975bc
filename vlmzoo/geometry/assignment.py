"""The cheapest way to give each row a column of its own.

Letters: N rows, M columns.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmzoo.errors import DataError

__all__ = ["assign"]


def assign(costs: ArrayLike) -> NDArray[np.int64]:
    """Return the column of each row, so that the costs add up to the least possible.

    Shortest augmenting paths: rows are added one by one, each with a search over all columns at once.

    Source: Kuhn, "The Hungarian method for the assignment problem", 1955; Jonker and Volgenant, "A shortest augmenting
    path algorithm for dense and sparse linear assignment problems", 1987.

    Args:
        costs: ``(N, M)``, finite, with N at most M.

    Returns:
        ``(N,)``, all different.

    Raises:
        DataError: if there are more rows than columns, or a cost is not finite.
    """
    matrix = np.asarray(costs, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] > matrix.shape[1] or not np.isfinite(matrix).all():
        raise DataError(
            "`costs` must be finite, with no more rows than columns, but have the shape "
            f"{matrix.shape} and {int((~np.isfinite(matrix)).sum())} values that are not finite."
        )
    num_rows, num_columns = matrix.shape
    row_price, column_price = np.zeros(num_rows), np.zeros(num_columns)
    owner = np.full(num_columns, -1)
    for new in range(num_rows):
        distance, before = np.full(num_columns, np.inf), np.full(num_columns, -1)
        is_done = np.zeros(num_columns, dtype=bool)
        row, column, reached = new, -1, 0.0
        while row >= 0:  # walk along owned columns until a free one is the nearest
            through = reached + matrix[row] - row_price[row] - column_price
            is_shorter = ~is_done & (through < distance)
            distance[is_shorter], before[is_shorter] = through[is_shorter], row
            column = int(np.where(is_done, np.inf, distance).argmin())
            reached = distance[column]
            is_done[column] = True
            row = int(owner[column])
        visited = is_done & (owner >= 0)
        row_price[new] += reached
        row_price[owner[visited]] += reached - distance[visited]
        column_price[visited] -= reached - distance[visited]
        while True:  # hand the columns over along the way back
            previous = int(before[column])
            mine = np.flatnonzero(owner == previous)
            owner[column] = previous
            if previous == new:
                break
            column = int(mine[0])
    columns = np.empty(num_rows, dtype=np.int64)
    taken = np.flatnonzero(owner >= 0)
    columns[owner[taken]] = taken
    return columns
