"""Prompts that were read before come back as they were; anything else is read again."""

import torch

from wanctl.sample.prompt_embeddings import EmbeddingCache


def test_an_embedding_comes_back_bit_for_bit_and_only_for_its_words_and_encoder(tmp_path):
    cache = EmbeddingCache(tmp_path / "prompts", "umt5-abc")
    embedding = torch.randn(7, 16)
    assert cache.get("a fox") is None
    cache.put("a fox", embedding)
    found = cache.get("a fox")
    assert found is not None
    assert torch.equal(found, embedding)
    assert cache.get("a fox ") is None
    assert EmbeddingCache(tmp_path / "prompts", "umt5-abd").get("a fox") is None


def test_the_empty_prompt_and_no_tokens_at_all(tmp_path):
    cache = EmbeddingCache(tmp_path, "umt5")
    cache.put("", torch.zeros(0, 16))
    found = cache.get("")
    assert found is not None
    assert found.shape == (0, 16)


def test_a_damaged_file_is_read_anew(tmp_path):
    cache = EmbeddingCache(tmp_path, "umt5")
    cache.put("a fox", torch.ones(2, 4))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    assert cache.get("a fox") is None
    cache.put("a fox", torch.ones(2, 4))
    assert cache.get("a fox") is not None


def test_a_cut_prompt_is_named_again_when_it_comes_from_the_cache(tmp_path):
    cache = EmbeddingCache(tmp_path, "umt5")
    cache.put("long", torch.ones(2, 4), 700)
    cache.put("short", torch.ones(2, 4))
    assert cache.get("long") is not None
    assert (cache.tokens_of_cut("long"), cache.tokens_of_cut("short")) == (700, 0)
