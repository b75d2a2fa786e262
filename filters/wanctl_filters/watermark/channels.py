"""Channels: groups of files that are likely to come from one publisher, with one logo."""

import numpy as np
import pyarrow as pa

from wanctl.curate.api import ClipBatch


def folder_groups(batch: ClipBatch) -> np.ndarray:
    """(N,) int64 number of each clip's folder, from 0 up: the source up to its last slash."""
    column = batch.clips["source"]
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.unify_dictionaries().chunks or [pa.array([], column.type)])
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    folders = [source.rpartition("/")[0] for source in coded.dictionary.to_pylist()]
    numbers = {folder: at for at, folder in enumerate(dict.fromkeys(folders))}
    of_source = np.array([numbers[folder] for folder in folders], dtype=np.int64)
    return of_source[coded.indices.to_numpy(zero_copy_only=False)]
