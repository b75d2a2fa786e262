"""Loads an exported folder with the loader of another trainer and prints what it yields.

Runs in `.venv-parity`, which holds the trainers and their requirements, never in `.venv`:

    python loaders.py NAME FOLDER [CHECKOUT]

Prints one JSON list on the last line: of every sample `id` (empty where the loader does not give
the file), `caption`, `size` (frames, height, width) and `levels`, the mean grey level of its first
and last frame, which tells which frames of the clip they are.
"""

import argparse
import importlib
import importlib.util
import json
import logging
import sys
import types
from collections.abc import Iterator, Mapping
from fractions import Fraction
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import av
import numpy as np

FPS = 16.0
HEIGHT, WIDTH, NUM_FRAMES = 64, 96, 13
"""The size that trainers with one size per run are given."""

Row = dict[str, Any]


def row(path: str, caption: str, frames: np.ndarray) -> Row:
    """A sample; `frames` is (T, H, W, 3) in [0, 255]."""
    return {
        "id": Path(path).stem,
        "caption": caption,
        "size": list(frames.shape[:3]),
        "levels": [float(frames[index].mean()) for index in (0, -1)],
    }


def musubi(folder: Path, checkout: Path | None) -> Iterator[Row]:
    """As cache_latents.py does: configuration, datasets, batches of frames."""
    sys.path.insert(0, str(checkout / "src" if checkout else "src"))
    from musubi_tuner.dataset import config_utils

    config = config_utils.load_user_config(str(folder / "dataset.toml"))
    generator = config_utils.BlueprintGenerator(config_utils.ConfigSanitizer())
    options = argparse.Namespace(debug_dataset=False)
    blueprint = generator.generate(config, options, architecture="wan")
    group = config_utils.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    for dataset in group.datasets:
        for _, batch in dataset.retrieve_latent_cache_batches(1):
            for item in batch:
                # the key is ID_START-FRAMES
                name = item.item_key.rpartition("_")[0]
                yield row(name, item.caption, item.content)


def finetrainers(folder: Path, checkout: Path | None) -> Iterator[Row]:
    """As SFTTrainer._prepare_dataset does, with --dataset_config dataset_config.json."""
    del checkout
    configs = json.loads((folder / "dataset_config.json").read_text())["datasets"]
    for config in configs:
        yield from _finetrainers(config.pop("data_root"), config.pop("dataset_type"), config)


def finetrainers_webdataset(folder: Path, checkout: Path | None) -> Iterator[Row]:
    """Its loader of shards, which is that of Hugging Face `datasets`."""
    del checkout
    yield from _finetrainers(str(folder), "video", {})


def _finetrainers(root: str, kind: str, config: Mapping[str, Any]) -> Iterator[Row]:
    # the published wheel lacks packages that the trainers import and the data loader does not
    spec = importlib.util.find_spec("finetrainers")
    package = types.ModuleType("finetrainers")
    package.__path__ = list(spec.submodule_search_locations if spec else ())
    sys.modules["finetrainers"] = package
    data = importlib.import_module("finetrainers.data")
    dataset = data.initialize_dataset(root, kind, streaming=True, infinite=False)
    for sample in data.wrap_iterable_dataset_for_preprocessing(dataset, kind, config):
        frames = (sample["video"].permute(0, 2, 3, 1).numpy() + 1) * 127.5
        yield row("", sample["caption"], frames)


def diffsynth(folder: Path, checkout: Path | None) -> Iterator[Row]:
    """As examples/wanvideo/model_training/train.py does with --dataset_metadata_path."""
    del checkout
    from diffsynth.core.data.unified_dataset import UnifiedDataset

    operator = UnifiedDataset.default_video_operator(
        base_path=str(folder), height=HEIGHT, width=WIDTH, num_frames=NUM_FRAMES,
    )  # fmt: skip
    metadata = next(iter(folder.glob("metadata.*")))
    dataset = UnifiedDataset(
        str(folder), str(metadata), data_file_keys=("image", "video"), main_data_operator=operator
    )
    for index, entry in enumerate(dataset.data):
        sample = dataset[index]
        frames = np.stack([np.asarray(frame) for frame in sample["video"]])
        yield row(entry["video"], sample["prompt"], frames)


def fastvideo(folder: Path, checkout: Path | None) -> Iterator[Row]:
    """As v1_preprocessing_new does with dataset_type `merged`."""
    del checkout
    from fastvideo.configs import configs
    from fastvideo.pipelines.preprocess import preprocess_stages
    from fastvideo.workflow.preprocess import components

    components.get_world_size, components.get_world_rank = lambda: 1, lambda: 0  # one process
    config = configs.PreprocessConfig(
        dataset_path=str(folder),
        dataset_type=configs.DatasetType.MERGED,
        video_loader_type=configs.VideoLoaderType.TORCHVISION,
    )
    validator = components.PreprocessingDataValidator(num_frames=NUM_FRAMES, train_fps=int(FPS))
    dataset = components.build_dataset(config, "train", validator)
    stage = preprocess_stages.VideoTransformStage(int(FPS), NUM_FRAMES, HEIGHT, WIDTH, False)
    options = types.SimpleNamespace(preprocess_config=config, workload_type=None)
    for entry in dataset:
        batch = components.VideoForwardBatchBuilder(seed=0)([entry])
        frames = stage.forward(batch, options).latents[0].permute(1, 2, 3, 0).numpy() * 255
        yield row(entry["name"], entry["caption"][0], frames)


def fastvideo_merge(folder: Path, checkout: Path | None) -> Iterator[Row]:
    """As v1_preprocess does with --data_merge_path."""
    del checkout
    from fastvideo.dataset import getdataset

    options = argparse.Namespace(
        num_frames=NUM_FRAMES, train_fps=FPS, max_height=HEIGHT, max_width=WIDTH, seed=0,
        data_merge_path=str(folder / "merge.txt"), do_temporal_sample=False, speed_factor=1,
        video_length_tolerance_range=5.0, drop_short_ratio=0.0, model_path="", cache_dir="",
        text_max_length=256, training_cfg_rate=0.0,
    )  # fmt: skip
    dataset = getdataset(options)
    for batch, sample in zip(dataset.processed_batches, dataset, strict=True):
        frames = (sample["pixel_values"].permute(1, 2, 3, 0).numpy() + 1) * 127.5
        yield row(sample["path"], batch.cap[0], frames)


def diffusion_pipe(folder: Path, checkout: Path | None) -> Iterator[Row]:
    """As train.py does: metadata of each directory, then the frames of each size bucket."""
    import tomllib

    _stub_comfyui()
    sys.path.insert(0, str(checkout))
    from models.base import PreprocessMediaFile
    from utils.dataset import DirectoryDataset

    config = tomllib.loads((folder / "dataset.toml").read_text())
    read = PreprocessMediaFile({}, support_video=True, framerate=FPS)
    for directory in config["directory"]:
        dataset = DirectoryDataset(directory, config, "wan", framerate=FPS, round_to_multiple=16)
        dataset.cache_metadata()
        for bucket in dataset.get_size_bucket_datasets():
            for entry in bucket.metadata_dataset:
                ((frames, _, _),) = read(entry["image_spec"], None, entry["size_bucket"])
                frames = frames.permute(1, 2, 3, 0).numpy() * 255
                for caption in entry["caption"]:  # its iteration order has an entry for each
                    yield row(entry["image_spec"][1], caption, frames)


class _VideoFromFile:
    """What the loader uses of ComfyUI's class of this name, which is not on the package index."""

    def __init__(self, path: str) -> None:
        with av.open(path) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            self._rate = Fraction(container.streams.video[0].average_rate or 1)
        self._frames = np.stack(frames)

    def get_dimensions(self) -> tuple[int, int]:
        return self._frames.shape[2], self._frames.shape[1]

    def get_frame_count(self) -> int:
        return len(self._frames)

    def get_frame_rate(self) -> Fraction:
        return self._rate

    def get_components(self) -> Any:
        import torch

        images = torch.from_numpy(self._frames).float() / 255
        return types.SimpleNamespace(images=images, frame_rate=self._rate, audio=None)


def _stub_comfyui() -> None:
    """Stand-ins for modules that diffusion-pipe imports and reading a data set does not use."""
    names = (
        "deepspeed", "deepspeed.utils", "deepspeed.utils.logging", "deepspeed.comm",
        "deepspeed.comm.comm", "torchaudio", "comfy", "comfy.utils", "comfy.sd",
        "comfy.sd1_clip", "comfy.model_management", "comfy_api", "comfy_api.latest",
    )  # fmt: skip
    for name in names:
        sys.modules[name] = MagicMock(__spec__=ModuleSpec(name, None))
    sys.modules["comfy_api.latest"].InputImpl.VideoFromFile = _VideoFromFile
    sys.modules["deepspeed.utils.logging"].logger = logging.getLogger("deepspeed")


LOADERS = {
    "musubi": musubi,
    "finetrainers": finetrainers,
    "finetrainers-webdataset": finetrainers_webdataset,
    "diffsynth": diffsynth,
    "fastvideo": fastvideo,
    "fastvideo-merge": fastvideo_merge,
    "diffusion-pipe": diffusion_pipe,
}


if __name__ == "__main__":
    name, export, *rest = sys.argv[1:]
    rows = list(LOADERS[name](Path(export), Path(rest[0]) if rest else None))
    sys.stdout.write("\n" + json.dumps(rows) + "\n")
