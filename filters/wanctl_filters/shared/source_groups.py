"""Groups the clips of a batch by their source file."""

import numpy as np
import pyarrow as pa

from wanctl.curate.api import ClipBatch


def source_groups(batch: ClipBatch) -> np.ndarray:
    """(N,) int64 number of each clip's source, from 0 up."""
    column = batch.clips["source"]
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    return column.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
