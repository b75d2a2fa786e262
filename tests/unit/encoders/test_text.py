import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertModel, PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from wanctl.checkpoint.files.scaled_fp8 import marker, scale_name, to_fp8
from wanctl.checkpoint.key_tables import TEXT_KEYS, to_official
from wanctl.encoders.minilm import minilm_folder
from wanctl.encoders.text import clean_prompt, load_text_encoder
from wanctl.errors import UserError
from wanctl.model.variant_table import VARIANTS
from wanctl.model.variants import WAN_NEGATIVE_PROMPT

WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "bike", "rides", "past", "trees", ","]
PROMPTS = ["a red bike, rides", "trees", "", "a a a a a a a a a a a a a a a a a a a a"]
TEXT_LEN = 12


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def umt5():
    torch.manual_seed(0)
    config = UMT5Config(
        vocab_size=32, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = UMT5EncoderModel(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.encoder.embed_tokens.weight = model.shared.weight
    return model


def save_official(model, root, tokenizer_folder) -> None:
    tensors = {n: t for n, t in model.state_dict().items() if n != "encoder.embed_tokens.weight"}
    names = to_official(tensors, TEXT_KEYS)
    torch.save({names[n]: t for n, t in tensors.items()}, root / "models_t5_umt5-xxl-enc-bf16.pth")
    (root / "google").mkdir()
    (root / "google" / "umt5-xxl").symlink_to(tokenizer_folder)


def save_diffusers(model, root, tokenizer_folder, max_shard_size="1GB") -> None:
    model.save_pretrained(root / "text_encoder", max_shard_size=max_shard_size)
    (root / "tokenizer").symlink_to(tokenizer_folder)


SAVERS = {
    "official": save_official,
    "diffusers": save_diffusers,
    "sharded": lambda *args: save_diffusers(*args, max_shard_size="10KB"),
}


def expected_rows(model, tokenizer_folder):
    """The official recipe, with transformers alone: pad to length, mask, cut, fill with zeros."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    batch = tokenizer(
        PROMPTS, padding="max_length", truncation=True, max_length=TEXT_LEN, return_tensors="pt"
    )
    mask = batch["attention_mask"]
    with torch.no_grad():
        rows = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    return rows * mask[:, :, None]


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "block by block"])
@pytest.mark.parametrize("layout", SAVERS)
def test_umt5_gives_the_numbers_of_transformers(tmp_path, umt5, tokenizer_folder, layout, keep):
    SAVERS[layout](umt5, tmp_path, tokenizer_folder)
    encoder = load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN, keep=keep)
    rows = encoder.encode(PROMPTS)
    expected = expected_rows(umt5, tokenizer_folder)
    assert encoder.dim == 24
    torch.testing.assert_close(rows, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "block by block"])
def test_umt5_of_one_file_in_scaled_fp8(tmp_path, umt5, tokenizer_folder, keep):
    """As community files have it; the same numbers as of the weights that fp8 and scale make."""
    tensors, plain = {}, {}
    for name, tensor in umt5.state_dict().items():
        plain[name] = tensor
        if name == "encoder.embed_tokens.weight":
            continue
        tensors[name] = tensor
        if tensor.ndim == 2 and ".layer." in name and "bias" not in name:
            tensors[name], scale = to_fp8(tensor)
            tensors[scale_name(name)] = scale
            plain[name] = tensors[name].float() * scale
    tensors |= {"scaled_fp8": marker(), "spiece_model": torch.zeros(9, dtype=torch.uint8)}
    save_file(tensors, tmp_path / "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
    (tmp_path / "tokenizer").symlink_to(tokenizer_folder)
    [file] = tmp_path.glob("*.safetensors")
    rows = load_text_encoder("umt5", file, text_len=TEXT_LEN, keep=keep).encode(PROMPTS)
    exact = expected_rows(umt5, tokenizer_folder)
    kept = {name: tensor.clone() for name, tensor in umt5.state_dict().items()}
    umt5.load_state_dict(plain)
    rounded = expected_rows(umt5, tokenizer_folder)
    umt5.load_state_dict(kept)
    torch.testing.assert_close(rows, rounded, atol=2e-5, rtol=0)
    assert (rounded - exact).abs().max() > 1e-3


def test_umt5_that_is_not_kept_holds_one_block_at_a_time(tmp_path, umt5, tokenizer_folder):
    save_official(umt5, tmp_path, tokenizer_folder)
    encoder = load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN, keep=False)
    stack = encoder._network._stack
    held = []

    def look(*_):
        blocks = [next(block.parameters()).device.type != "meta" for block in stack.block]
        held.append(sum(blocks))

    for block in stack.block:
        block.register_forward_hook(look)
    done = []
    first = encoder.encode(PROMPTS, lambda: done.append(1))
    assert len(done) == encoder.blocks == len(stack.block)
    assert set(held) == {1}
    assert {parameter.device.type for parameter in stack.parameters()} == {"meta"}
    assert torch.equal(encoder.encode(PROMPTS), first)
    kept = load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN)
    assert torch.equal(kept.encode(PROMPTS), first)


def test_key_changes_with_weights_and_length(tmp_path, umt5, tokenizer_folder):
    save_diffusers(umt5, tmp_path, tokenizer_folder)
    first = load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN).key
    assert first == load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN).key
    assert first != load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN + 1).key
    with torch.no_grad():
        umt5.shared.weight[0, 0] += 1
        umt5.save_pretrained(tmp_path / "text_encoder")
        umt5.shared.weight[0, 0] -= 1
    assert first != load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN).key


def test_umt5_without_its_tokenizer_or_with_wrong_tensors_is_one_line(
    tmp_path, umt5, tokenizer_folder
):
    umt5.save_pretrained(tmp_path / "text_encoder")
    with pytest.raises(UserError, match="with tokenizer/"):
        load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN)
    (tmp_path / "tokenizer").symlink_to(tokenizer_folder)
    config_path = tmp_path / "text_encoder" / "config.json"
    config_path.write_text(json.dumps(json.loads(config_path.read_text()) | {"num_layers": 3}))
    with pytest.raises(UserError, match=r"num_layers 3, and the tensors have 2"):
        load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN)
    with pytest.raises(UserError, match="did you mean 'umt5'"):
        load_text_encoder("umt6", tmp_path, text_len=TEXT_LEN)


def test_minilm_gives_the_numbers_of_transformers():
    prompts = ["A red bike rides past trees.", "", "word " * 40]
    encoder = load_text_encoder("minilm", None, text_len=16)
    rows = encoder.encode(prompts)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(minilm_folder())
    model = BertModel.from_pretrained(minilm_folder(), add_pooling_layer=False).eval()
    batch = tokenizer(
        prompts, padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )
    mask = batch["attention_mask"]
    with torch.no_grad():
        expected = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    assert rows.shape == (3, 16, 384)
    torch.testing.assert_close(rows, expected * mask[:, :, None], atol=2e-5, rtol=0)


def test_minilm_needs_no_slow_import():
    code = (
        "import sys; from wanctl.encoders.text import load_text_encoder as load;"
        "load('minilm', None, text_len=8).encode(['a bike']);"
        "sys.exit(any(m in sys.modules for m in ('transformers', 'diffusers', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cleaning_mends_and_collapses():
    assert clean_prompt("  a &amp;lt;b&amp;gt;\n\t “bike” ") == 'a <b> "bike"'
    assert "，" not in clean_prompt(WAN_NEGATIVE_PROMPT)
    assert clean_prompt("（３）！") == "(3)!"


def test_a_long_prompt_is_cut_with_one_warning_that_counts_its_tokens(
    tmp_path, umt5, tokenizer_folder, caplog
):
    save_official(umt5, tmp_path, tokenizer_folder)
    encoder = load_text_encoder("umt5", tmp_path, text_len=TEXT_LEN)
    with caplog.at_level("WARNING", "wanctl"):
        encoder.encode(["a red bike"])
        encoder.encode(["a " * (TEXT_LEN - 1)])  # exactly full, with the end token
    assert caplog.messages == []
    with caplog.at_level("WARNING", "wanctl"):
        encoder.encode(["a " * 20, "a " * 20])
        encoder.encode(["a " * 20])
    (message,) = caplog.messages
    assert "a prompt has 21 tokens and the model reads 12: the last 9 are cut" in message
    assert encoder.cut == {"a " * 20: 21}


def test_many_long_prompts_are_counted_and_not_all_named(caplog):
    encoder = load_text_encoder("minilm", None, text_len=8)
    with caplog.at_level("WARNING", "wanctl"):
        for number in range(120):
            encoder.encode([f"{number} words of a prompt that is too long for eight"])
    assert len(caplog.messages) == 7
    assert "(cut so far: 100 prompts)" in caplog.messages[-1]


def test_the_published_length_is_512_tokens():
    assert {variant.dit.text_len for name, variant in VARIANTS.items() if variant.hub} == {512}
