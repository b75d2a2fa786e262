"""Small random Qwen2.5-VL, Qwen3-VL and text models, as folders in the published layout.

The file names, the keys of every JSON file, the special tokens and the structure of the chat
template are those of the published repositories; sizes are small and weights are random. A folder
takes under half a second.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils import logging as library_logging

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
CORPUS = ["A person walks through a quiet street while the camera follows, in warm light."]

CHAT_TEMPLATE = """
{%- for message in messages -%}
  {{- '<|im_start|>' + message.role + '\n' -}}
  {%- if message.content is string -%}
    {{- message.content -}}
  {%- else -%}
    {%- for part in message.content -%}
      {%- if part.type == 'image' -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
      {%- elif part.type == 'video' -%}
        {{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
      {%- else -%}
        {{- part.text -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
{%- endif -%}
"""

# every second attention block of the vision part sees the whole picture, the others windows
_QWEN25_VISION = {
    "model_type": "qwen2_5_vl", "depth": 2, "hidden_act": "silu", "hidden_size": 32,
    "intermediate_size": 64, "num_heads": 4, "in_chans": 3, "out_hidden_size": 32,
    "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112,
    "fullatt_block_indexes": [1], "tokens_per_second": 2, "temporal_patch_size": 2,
}  # fmt: skip
_QWEN3_VISION = {
    "model_type": "qwen3_vl", "depth": 2, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 32,
    "intermediate_size": 64, "num_heads": 4, "in_channels": 3, "out_hidden_size": 32,
    "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
    "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1],
}  # fmt: skip
_TEXT = {
    "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
    "max_position_embeddings": 32768, "attention_dropout": 0.0, "use_cache": True,
    # random words that depend on every picture, instead of the same one forever
    "initializer_range": 0.3,
}  # fmt: skip
_IMAGES = {
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def qwen25_vl(folder: Path, seed: int = 0, head_dim: int = 8) -> Path:
    """Write a Qwen2.5-VL: one flat config, no file of its own for videos.

    Args:
        folder: to write.
        seed: of the weights.
        head_dim: of the language part, a multiple of 8; vLLM's attention on CPUs takes 32.
    """
    ids = _write_tokenizer(folder)
    part = head_dim // 8
    rope = {"type": "mrope", "mrope_section": [2 * part, part, part]}
    width = head_dim * _TEXT["num_attention_heads"]
    config = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
        **_TEXT, "hidden_size": width, **_vision_ids(ids),
        "vision_token_id": ids["<|vision_pad|>"],
        "vocab_size": len(ids), "rope_theta": 1e6, "rope_scaling": rope,
        "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 2,
        "tie_word_embeddings": False,
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "vision_config": {**_QWEN25_VISION, "out_hidden_size": width, "initializer_range": 0.3},
    }  # fmt: skip
    _write(folder / "preprocessor_config.json", {
        "min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, **_IMAGES,
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor",
    })  # fmt: skip
    _write(folder / "chat_template.json", {"chat_template": CHAT_TEMPLATE})
    return _write_weights(folder, config, ids, seed, AutoModelForImageTextToText)


def qwen3_vl(folder: Path, seed: int = 0, head_dim: int = 8) -> Path:
    """Write a Qwen3-VL: text and vision config, files of its own for pictures and videos.

    Args:
        folder: to write.
        seed: of the weights.
        head_dim: of the language part, a multiple of 8.
    """
    ids = _write_tokenizer(folder)
    part = head_dim // 8
    sections = [2 * part, part, part]
    rope = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": sections}
    text = {
        "model_type": "qwen3_vl_text", **_TEXT, "head_dim": head_dim, "attention_bias": False,
        "rope_theta": 5e6, "rope_scaling": rope, "vocab_size": len(ids),
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
    }  # fmt: skip
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl",
        "text_config": text, "vision_config": {**_QWEN3_VISION, "initializer_range": 0.3},
        **_vision_ids(ids), "tie_word_embeddings": False,
    }  # fmt: skip
    common = {"patch_size": 16, **_IMAGES, "processor_class": "Qwen3VLProcessor"}
    _write(folder / "preprocessor_config.json", {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536}, **common,
        "image_processor_type": "Qwen2VLImageProcessorFast",
    })  # fmt: skip
    _write(folder / "video_preprocessor_config.json", {
        "size": {"longest_edge": 25165824, "shortest_edge": 4096}, **common,
        "video_processor_type": "Qwen3VLVideoProcessor",
    })  # fmt: skip
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return _write_weights(folder, config, ids, seed, AutoModelForImageTextToText)


def qwen2_text(folder: Path, seed: int = 0) -> Path:
    """Write a Qwen2 language model, which sees nothing."""
    ids = _write_tokenizer(folder, chat_template=CHAT_TEMPLATE)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **_TEXT,
        "vocab_size": len(ids), "rope_theta": 1e6, "tie_word_embeddings": False,
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
    }  # fmt: skip
    return _write_weights(folder, config, ids, seed, AutoModelForCausalLM)


def _write_weights(folder: Path, config: dict, ids: dict[str, int], seed: int, kind: type) -> Path:
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {
        "bos_token_id": ids["<|endoftext|>"], "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
        "repetition_penalty": 1.05,
    })  # fmt: skip
    published = {
        name: (folder / name).read_text() for name in ("config.json", "generation_config.json")
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind.from_config(AutoConfig.from_pretrained(folder))
    library_logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        library_logging.enable_progress_bar()
    for name, text in published.items():
        (folder / name).write_text(text)
    return folder


def _write_tokenizer(folder: Path, **config: str) -> dict[str, int]:
    """Write the files of a byte-level tokenizer; returns its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 32,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    content = json.loads(tokenizer.to_str())["model"]
    _write(folder / "vocab.json", content["vocab"])
    merges = [" ".join(pair) for pair in content["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = tokenizer.get_vocab(with_added_tokens=True)
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    _write(folder / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "bos_token": None,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None,
        "additional_special_tokens": list(SPECIAL[1:]), "model_max_length": 131072,
        "added_tokens_decoder": {
            str(ids[name]): {"content": name, "special": True, **flags} for name in SPECIAL
        },
        **config,
    })  # fmt: skip
    return ids


def _vision_ids(ids: dict[str, int]) -> dict[str, int]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2))
