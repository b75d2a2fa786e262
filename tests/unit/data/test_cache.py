import pytest
import torch

from wanctl.data import cache as cache_module
from wanctl.data.cache import CacheError, LatentCache, cache_key


def latents(seed, dtype=torch.float16):
    return torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_tensors_come_back_as_they_were_put(tmp_path):
    with LatentCache(tmp_path, "vae@1") as cache:
        cache.put("a", latents(0))
        cache.put("b", latents(1, torch.float32))
        cache.put("c", latents(2, torch.bfloat16))
    again = LatentCache(tmp_path, "vae@1")
    assert torch.equal(again.get("a"), latents(0))
    assert torch.equal(again.get("b"), latents(1, torch.float32))
    assert again.get("c").dtype == torch.bfloat16
    assert again.missing(["a", "x", "c", "x", "y"]) == ["x", "y"]
    assert LatentCache(tmp_path, "vae@2").missing(["a"]) == ["a"]


def test_shards_are_bounded_and_a_killed_run_keeps_the_full_ones(tmp_path):
    cache = LatentCache(tmp_path, "vae@1", shard_bytes=3 * latents(0).nbytes)
    for number in range(7):
        cache.put(str(number), latents(number))
    assert "6" in cache
    assert len(list((tmp_path / "vae@1").glob("shard-*.safetensors"))) == 2
    assert LatentCache(tmp_path, "vae@1").missing(map(str, range(7))) == ["6"]


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_shard_is_computed_again(tmp_path, damage):
    with LatentCache(tmp_path, "vae@1") as cache:
        cache.put("a", latents(0))
    (shard,) = (tmp_path / "vae@1").iterdir()
    data = bytearray(shard.read_bytes())
    if damage == "cut":
        shard.write_bytes(data[:200])
        assert LatentCache(tmp_path, "vae@1").missing(["a"]) == ["a"]
        return
    data[-9] ^= 4
    shard.write_bytes(data)
    again = LatentCache(tmp_path, "vae@1")
    with pytest.raises(CacheError, match="damaged and deleted; run the same command again"):
        again.get("a")
    assert again.missing(["a"]) == ["a"]
    assert not shard.exists()


def test_keys_depend_on_every_part():
    assert cache_key("clip", 5, 1.5) == cache_key("clip", 5, 1.5)
    assert len({cache_key("ab", "c"), cache_key("a", "bc"), cache_key("a", "bc", "")}) == 3


def test_a_shard_is_opened_once_however_often_it_is_read(tmp_path, monkeypatch):
    with LatentCache(tmp_path, "vae@1") as cache:
        cache.put("a", latents(0))
        cache.put("b", latents(1))
    again = LatentCache(tmp_path, "vae@1")
    opened = []
    real = cache_module.safe_open
    monkeypatch.setattr(
        cache_module,
        "safe_open",
        lambda *args, **kwargs: opened.append(args) or real(*args, **kwargs),
    )
    for _ in range(3):
        assert torch.equal(again.get("a"), latents(0))
        assert torch.equal(again.get("b"), latents(1))
    assert len(opened) == 1
