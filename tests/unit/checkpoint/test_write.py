"""Files of weights have the umask's mode, and equal weights give equal bytes."""

import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_models import write_official

from wanctl.atomic import write_bytes
from wanctl.checkpoint.convert.plan import ConversionOptions
from wanctl.checkpoint.convert.run import convert
from wanctl.checkpoint.files.write import CODES, write_tensors
from wanctl.checkpoint.save import save_dit
from wanctl.data.cache import LatentCache
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape
from wanctl.sample.prompt_embeddings import EmbeddingCache
from wanctl.train.checkpoint import read_checkpoint, write_checkpoint

DIT = DiTShape(
    dim=8, ffn_dim=8, num_layers=1, num_heads=1, in_channels=4, out_channels=4, text_dim=4
)


def every_dtype() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {
        f"of.{code}": torch.randint(0, 2, (3, 5), generator=generator).to(dtype)
        for dtype, code in CODES.items()
    }
    wide = torch.randn(4, 6, generator=generator)
    return tensors | {
        "transposed": wide.t(), "sliced": wide[:, 1::2], "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3), "ä/ü 中": wide, "expanded": torch.ones(1, 4).expand(3, 4),
    }  # fmt: skip


def test_the_library_reads_what_is_written(tmp_path):
    tensors = every_dtype()
    metadata = {"format": "pt", "text": 'ä\n"quoted" 中', "name": "clip\udcff.mp4"}
    write_tensors(tmp_path / "a.safetensors", tensors, metadata)
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name].float(), tensor.float()), name
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == metadata | {"name": "clip?.mp4"}


def test_equal_weights_give_equal_bytes_in_any_order(tmp_path):
    tensors, metadata = every_dtype(), {f"key {i}": str(i) for i in range(9)}
    for number in range(5):
        order = sorted(tensors, key=lambda name: hash((name, number)))
        entries = dict(sorted(metadata.items(), key=lambda item: hash((item, number))))
        write_tensors(
            tmp_path / f"{number}.safetensors", {n: tensors[n].clone() for n in order}, entries
        )
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o000])
def test_files_and_folders_have_the_mode_of_the_umask(tmp_path, umask):
    torch.manual_seed(0)
    source = write_official(tmp_path / "source", "wan2.1-t2v-1.3b")
    (source / "google/umt5-xxl/tokenizer.json").chmod(0o400)
    (tmp_path / "new").mkdir()
    before = os.umask(umask)
    try:
        new = tmp_path / "new" / "made"
        save_dit(WanModel(DIT), new / "dit", max_shard_bytes=2000)
        write_bytes(new / "table.json", b"{}")
        EmbeddingCache(new / "prompts", "e").put("a prompt", torch.ones(2, 3))
        cache = LatentCache(new / "latents", "key")
        cache.put("a clip", torch.ones(2))
        cache.flush()
        write_checkpoint(
            new / "checkpoints", 3, {"model": {"w": torch.ones(2)}}, identity={}, state={}
        )
        for layout in ("official", "diffusers"):
            convert(str(source), new / layout, ConversionOptions(layout))
        read_checkpoint(new / "checkpoints" / "step-000003")
    finally:
        os.umask(before)
    paths = list(new.rglob("*"))
    assert len(paths) > 30
    for path in paths:
        mode = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == mode & ~umask, path
