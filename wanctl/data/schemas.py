"""The columns of every table in a data set directory.

PTS are integers in the source's time base; seconds are PTS times the time base. Sizes are display
pixels (rotation applied, pixels square) unless the name says `coded`.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

CLIPS = pa.schema(
    {
        "id": pa.string(),
        "source": pa.string(),
        "content_hash": pa.string(),
        "shot": pa.int32(),
        "start_pts": pa.int64(),
        "end_pts": pa.int64(),  # exclusive
        "time_base_num": pa.int64(),
        "time_base_den": pa.int64(),
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "num_frames": pa.int32(),
        "fps": pa.float64(),
        "vfr": pa.bool_(),
        "width": pa.int32(),
        "height": pa.int32(),
        "coded_width": pa.int32(),
        "coded_height": pa.int32(),
        "rotation": pa.int32(),  # degrees clockwise that bring the stored frame upright
        "sar_num": pa.int32(),
        "sar_den": pa.int32(),
        "codec": pa.string(),
        "pix_fmt": pa.string(),
        "has_audio": pa.bool_(),
        "audio_rate": pa.int32(),
        "corrupt_share": pa.float64(),  # 0: damaged frames are in no clip (see `damaged_share`)
        "bit_rate": pa.float64(),  # of the file's video stream, bits per second
        "transfer": pa.string(),  # transfer curve; "" where the file does not say
        "interlaced": pa.bool_(),  # the file says so
        "comb_share": pa.float64(),  # of the frames examined, those woven of two fields
        "repeat_share": pa.float64(),  # frames that repeat the one before them
        "frozen_share": pa.float64(),  # of these, the ones in standstills of half a second or more
        "mirrored": pa.bool_(),  # left and right change places before the frame is rotated
        "damaged_share": pa.float64(),  # of the file's frames, the damaged ones; in no clip
        "unplaced_share": pa.float64(),  # of the file's frames, those without a time; in no clip
        # "" where PTS are the container's own; else its frames are found by counting, from
        # `first_frame` on, and PTS are finer (`wanctl.video.frames.FrameRange`)
        "clock": pa.string(),
        "first_frame": pa.int64(),
        "primaries": pa.string(),  # colour primaries; "" where the file does not say
        "moving_share": pa.float64(),  # of the frame, what moves between frames that differ
    }
)

SELECTION = pa.schema(
    {
        "id": pa.string(),
        "kept": pa.bool_(),
        "reasons": pa.list_(pa.string()),  # each "filter: reason"
        "scores": pa.list_(pa.struct({"filter": pa.string(), "score": pa.float64()})),
        "crop_x": pa.int32(),
        "crop_y": pa.int32(),
        "crop_w": pa.int32(),
        "crop_h": pa.int32(),
        "weight": pa.float64(),
        # classes that filters assign: motion tier, category, group of duplicates
        "labels": pa.list_(pa.struct({"filter": pa.string(), "label": pa.string()})),
        "bucket": pa.string(),
        "recipe_hash": pa.string(),
        # what a person decided, "keep: reason" or "drop: reason"; null where nobody did
        "override": pa.string(),
        # the part of the clip that is kept, seconds from its first frame; null: all of it
        "span_start_s": pa.float64(),
        "span_end_s": pa.float64(),
        "span_reason": pa.string(),  # "filter: what is left out, and why"
    }
)

SELECTION_CODED = (
    "kept", "reasons.list.element", "scores.list.element.filter", "crop_x", "crop_y", "crop_w",
    "crop_h", "weight", "labels.list.element.filter", "labels.list.element.label", "bucket",
    "recipe_hash", "override",
)  # fmt: skip
"""Columns that are dictionary-encoded. Encoding ids and scores as well would take longer than the
rest of writing a selection."""

CAPTIONS = pa.schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "variant": pa.string(),
        "backend": pa.string(),
        "span": pa.string(),  # "first-end", the PTS of the span that it describes; null: the clip
    }
)

STRUCTURES = pa.schema(
    {
        "id": pa.string(),
        "structure": pa.string(),  # JSON, see wanctl/caption/structured/schema.py
        "model": pa.string(),
        "input_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "attempts": pa.int32(),
        "span": pa.string(),  # as in CAPTIONS
    }
)

CAPTION_FLAGS = pa.schema(
    {
        "id": pa.string(),
        "variant": pa.string(),  # "structure" for the structured pass itself
        "text": pa.string(),  # what the model wrote last
        "checks": pa.list_(pa.string()),  # each "check: reason"
        "attempts": pa.int32(),
        "span": pa.string(),  # as in CAPTIONS
    }
)

EMBEDDINGS = pa.schema(
    {
        "id": pa.string(),
        "frames": pa.int32(),
        "vector": pa.list_(pa.float16()),  # one unit vector per frame, one after the other
    }
)

QUARANTINE = pa.schema(
    {
        "source": pa.string(),
        "clip_id": pa.string(),  # "" when the whole file is quarantined
        "stage": pa.string(),
        "kind": pa.string(),
        "error": pa.string(),
    }
)

PASSED_OVER = pa.schema(
    {
        "ending": pa.string(),  # in lower case, with its dot; "" without one
        "files": pa.int64(),  # that are no footage
    }
)

_FIXED = {
    "clips": CLIPS,
    "selections": SELECTION,
    "captions": CAPTIONS,
    "structures": STRUCTURES,
    "caption_flags": CAPTION_FLAGS,
    "embeddings": EMBEDDINGS,
    "quarantine": QUARANTINE,
    "passed_over": PASSED_OVER,
}

_COLUMNS: dict[str, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "floats": pa.list_(pa.float64()),
    "ints": pa.list_(pa.int64()),
    "strings": pa.list_(pa.string()),
    # per sampled frame, a list of flat [x0, y0, x1, y1, ...] lists
    "polygons": pa.list_(pa.list_(pa.list_(pa.float64()))),
}


def evidence_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Schema of one filter's evidence: the clip's id, then the columns that it declares.

    Args:
        columns: column name -> type word (`Filter.evidence`).
    """
    return pa.schema([pa.field("id", pa.string()), *evidence_columns(columns)])


def evidence_columns(columns: Mapping[str, str]) -> pa.Schema:
    """Schema of the columns that a filter declares, without the clip's id.

    Raises:
        ValueError: a type word is unknown.
    """
    for name, word in columns.items():
        if word not in _COLUMNS:
            raise ValueError(f"evidence column {name!r}: type {word!r} is not one of {[*_COLUMNS]}")
    return pa.schema({name: _COLUMNS[word] for name, word in columns.items()})


def table_schema(table: str) -> pa.Schema | None:
    """Schema of a table by its name; None for evidence, whose columns the filter declares."""
    kind = table.split("/", 1)[0]
    if kind == "evidence":
        return None
    if kind not in _FIXED:
        raise ValueError(f"no table named {table!r}; there are {[*_FIXED, 'evidence']}")
    return _FIXED[kind]


def with_new_columns(table: str, rows: pa.Table, names: Sequence[str] | None) -> pa.Table:
    """Add the columns that an earlier version of this program did not write, as nulls.

    Args:
        table: name of the table.
        rows: what a part of it holds.
        names: the columns that were asked for; None: all.
    """
    schema = table_schema(table)
    if schema is None or rows.column_names == schema.names:
        return rows
    for name in schema.names if names is None else names:
        if name not in rows.column_names and name in schema.names:
            field = schema.field(name)
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    # parts of several versions are concatenated, which needs one order
    order = schema.names if names is None else [*dict.fromkeys(names)]
    rest = [name for name in rows.column_names if name not in order]
    return rows.select([*(name for name in order if name in rows.column_names), *rest])
