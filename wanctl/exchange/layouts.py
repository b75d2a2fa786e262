"""LAYOUTS: how an export is arranged in its folder, by the name that recipes use.

A layout says where the videos go and which index files other programs read next to them. The
functions in `index_files.py` and `shards.py` cite the code or documentation of each reader.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wanctl.exchange import index_files
from wanctl.exchange.sample import ExportSample, ExportTarget

IndexWriter = Callable[[Sequence[ExportSample], ExportTarget], Mapping[str, str]]


@dataclass(frozen=True)
class Layout:
    """One row of LAYOUTS.

    Attributes:
        read_by: the programs that read it, for log lines and help texts.
        index: returns the files next to the videos: name -> text.
        videos: folder of the videos, relative to the export's folder.
        packed: the videos go into tar shards instead.
        bucketed: each clip is for its one bucket; clips that fill none are not exported.
        bucket_folders: the videos of each bucket have a folder of their own.
        bucket_length: the videos are cut to the frames of their bucket.
        hub_files: patterns of the files that Hugging Face `datasets` is to read, for the card.
    """

    read_by: str
    index: IndexWriter
    videos: str = "videos"
    packed: bool = False
    bucketed: bool = False
    bucket_folders: bool = False
    bucket_length: bool = False
    hub_files: Sequence[str] = ()


LAYOUTS: dict[str, Layout] = {
    "mp4": Layout("anything: files and clips.csv", index_files.clips_csv, videos=""),
    "webdataset": Layout(
        "webdataset, finetrainers", index_files.no_index, packed=True, hub_files=("*.tar",)
    ),
    "diffsynth": Layout("DiffSynth-Studio", index_files.diffsynth),
    "musubi": Layout("musubi-tuner", index_files.musubi, bucketed=True),
    "diffusion-pipe": Layout(
        "diffusion-pipe", index_files.diffusion_pipe, bucketed=True, bucket_folders=True
    ),
    "finetrainers": Layout(
        "finetrainers, Hugging Face videofolder",
        index_files.finetrainers,
        bucketed=True,
        bucket_length=True,
        hub_files=("metadata.jsonl", "videos/*.mp4"),
    ),
    "fastvideo": Layout("FastVideo preprocessing", index_files.fastvideo),
}
