"""Files of conversations, as trainers of vision-language models read them.

A row has `messages` (role, content) and lists of `videos` and `images`, whose paths are relative to
the folder. LLaMA-Factory finds the files by `dataset_info.json` (`dataset_dir` and `media_dir` are
the folder); ms-swift takes a file by its name and the folder from the environment variable
ROOT_IMAGE_DIR. Sources: llamafactory 0.9.5, data/converter.py and extras/constants.py; ms-swift
4.6.0, dataset/preprocessor/core.py and template/vision_utils.py.
"""

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

from wanctl.exchange.chat.pairs import IMAGE, VIDEO, Pair

INFO = "dataset_info.json"
_COLUMNS = {"messages": "messages", "videos": "videos", "images": "images"}
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def conversation_files(
    pairs: Sequence[Pair], media: Mapping[str, str], held_out: Set[str]
) -> dict[str, str]:
    """File name -> content: four files of rows at most, and `dataset_info.json`.

    Args:
        pairs: of clips whose file is written.
        media: clip id -> its file, relative to the folder.
        held_out: ids of the clips that are kept from training.
    """
    rows: dict[str, list[str]] = {}
    for pair in pairs:
        split = "held_out" if pair.clip in held_out else "train"
        name = split if pair.shown else f"text_{split}"
        rows.setdefault(name, []).append(json.dumps(_row(pair, media), ensure_ascii=False))
    info = {
        f"wanctl_{name}": {
            "file_name": f"{name}.jsonl",
            "formatting": "sharegpt",
            "columns": _COLUMNS if not name.startswith("text_") else {"messages": "messages"},
            "tags": _TAGS,
        }
        for name in sorted(rows)
    }
    files = {f"{name}.jsonl": "\n".join([*lines, ""]) for name, lines in rows.items()}
    return {**files, INFO: json.dumps(info, indent=2) + "\n"}


def _row(pair: Pair, media: Mapping[str, str]) -> dict[str, Any]:
    messages = [
        *([{"role": "system", "content": pair.system}] if pair.system else []),
        {"role": "user", "content": pair.question},
        {"role": "assistant", "content": pair.answer},
    ]
    if not pair.shown:
        return {"messages": messages}
    return {
        "messages": messages,
        "videos": [media[pair.clip]] if pair.shown == VIDEO else [],
        "images": [media[pair.clip]] if pair.shown == IMAGE else [],
    }
