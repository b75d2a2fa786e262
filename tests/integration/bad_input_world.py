"""A folder of everything that can be wrong: files that the cases of bad_inputs.py name."""

import json
import os
import shutil
import struct
from pathlib import Path

import av
import numpy as np
from bad_camera import POSES

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
RECIPES = {
    "empty": b"",
    "comment": b"# nothing\n",
    "list": b"- 1\n- 2\n",
    "text": b"hello\n",
    "binary": bytes(range(256)),
    "latin1": "dataset: {license: caf\u00e9}\n".encode("latin-1"),
    "half16": b"\xff\xfea\x00:\x00 \x00\x00\xd8",
    "tab": b"sample:\n\tsteps: 3\n",
    "colon": b"dataset: {license: a: b}\n",
    "twice": b"seed: 1\nseed: 2\n",
    "unclosed": b"sample: [1, 2\n",
    "two": b"seed: 1\n---\nseed: 2\n",
    "laughs": LAUGHS.encode(),
    "many": b"".join(b"k%d: 1\n" % n for n in range(40_000)),
    "deep": b"[" * 5000,
    "object": b"seed: !!python/object/apply:os.system [echo]\n",
    "alias": b"seed: *nothing\n",
    "nokey": b"~: 1\n",
    "section": b"sampel: {steps: 3}\n",
    "key": b"sample: {stepss: 3}\n",
    "value": b"sample: {steps: many}\n",
    "nobase": b"base: nowhere.yaml\n",
    "numberbase": b"base: 7\n",
    "selfbase": b"base: selfbase.yaml\n",
    "circle": b"base: circle2.yaml\n",
    "circle2": b"base: circle.yaml\n",
    "nofilter": b"base: tiny\ncurate: {filters: {ocrr: {}}}\n",
    "remove": b"base: tiny\ncurate: {filters: {ocrr: false}}\n",
    "filterkey": b"base: tiny\ncurate: {filters: {blur: {max_with: 3}}}\n",
    "control": b'dataset: {license: "a\\x07b"}\n',
    "traversal": b"dataset: {selection: ../../x}\n",
    "variant": b"model: {variant: wan9}\n",
    "null": b"sample: null\n",
    "digits": b"seed: " + b"9" * 5000 + b"\n",
}
PROMPTS = {
    "blank.txt": b"\n \n# only a remark\n",
    "latin1.txt": "un caf\u00e9\n".encode("latin-1"),
    "binary.txt": bytes(range(256)),
    "control.txt": b"a cat\nred\x1b[31m fox\n",
    "nul.txt": b"a\x00cat\n",
    "bad.jsonl": b'{"prompt": "a"\n',
    "list.jsonl": b'["a cat"]\n',
    "noprompt.jsonl": b'{"seed": 3}\n',
    "emptyprompt.jsonl": b'{"prompt": "  "}\n',
    "number.jsonl": b'{"prompt": 7}\n',
    "key.jsonl": b'{"prompt": "a", "sead": 3}\n',
    "twice.jsonl": b'{"prompt": "a", "seed": 3, "seed": 4}\n',
    "value.jsonl": b'{"prompt": "a", "steps": "many"}\n',
    "seed.jsonl": b'{"prompt": "a", "seed": 18446744073709551616}\n',
    "float.jsonl": b'{"prompt": "a", "seed": 1.5}\n',
    "nan.jsonl": b'{"prompt": "a", "guide_scale": NaN}\n',
    "size.jsonl": b'{"prompt": "a", "size": "huge"}\n',
    "run.jsonl": b'{"prompt": "a", "grid": true}\n',
    "deep.jsonl": b'{"prompt": ' + b"[" * 5000 + b"]" * 5000 + b"}\n",
    "half.jsonl": b'{"prompt": "a \\ud800 b"}\n',
    "image.jsonl": b'{"prompt": "a", "image": "nowhere.png"}\n',
    "noheader.csv": b"seed,text\n3,a\n",
    "wide.csv": b"prompt,seed\na,3,4\n",
    "quote.csv": b'prompt\n"a\n',
    "twice.csv": b"prompt,seed,seed\na,1,2\n",
    "cell.csv": b"prompt,guide_scale\na,[3\n",
    "none.csv": b"",
    "prompts.json": b'["a cat"]\n',
    "prompts.yaml": b"a cat\n",
}


def make_world(folder: Path) -> None:
    """Fill a folder."""
    for name, data in RECIPES.items():
        (folder / f"{name}.yaml").write_bytes(data)
    for name, data in PROMPTS.items():
        (folder / name).write_bytes(data)
    for name, text in POSES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("empty", "folder.txt", "folder.yaml", "folder.safetensors", "folder.csv"):
        (folder / name).mkdir()
    (folder / "words.txt").write_text("a cat\n", encoding="utf-8")
    (folder / "file").write_text("", encoding="utf-8")
    os.mkfifo(folder / "pipe.txt")
    (folder / "circular").symlink_to("circular")
    (folder / "dangling.txt").symlink_to("nowhere")
    _footage(folder)
    _pictures(folder)
    _weights(folder)
    _vaes(folder)
    _data_sets(folder)


def _footage(folder: Path) -> None:
    (folder / "footage").mkdir()
    path = folder / "footage" / "good.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for index in range(12):
            frame = np.full((64, 96, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    (folder / "texts").mkdir()
    (folder / "texts" / "notes.txt").write_text("no footage", encoding="utf-8")
    (folder / "broken.mp4").write_bytes(path.read_bytes()[:700])
    with av.open(str(folder / "small.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 24, 24, "yuv420p"
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(np.zeros((24, 24, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 40)


def _pictures(folder: Path) -> None:
    from PIL import Image

    Image.new("RGB", (96, 64), (9, 90, 200)).save(folder / "good.png")
    data = (folder / "good.png").read_bytes()
    (folder / "broken.png").write_bytes(data[: len(data) // 2])
    (folder / "noise.png").write_bytes(bytes(range(256)))
    (folder / "empty.png").write_bytes(b"")


def _weights(folder: Path) -> None:
    def tensors(entries: dict[str, object], data: bytes = b"") -> bytes:
        header = json.dumps(entries).encode()
        return struct.pack("<Q", len(header)) + header + data

    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    two = {**one, "data_offsets": [8, 16]}
    files = {
        "none": tensors({}),
        "unknown": tensors({"a.b": one}, bytes(8)),
        "umt5": tensors(
            {"token_embedding.weight": one, "blocks.0.ffn.gate.0.weight": two}, bytes(16)
        ),
        "short": tensors({"a.b": one}, bytes(3)),
        "offsets": tensors({"a.b": {**one, "data_offsets": [0, 800]}}, bytes(8)),
        "header": struct.pack("<Q", 2**60) + b"{}",
        "nojson": struct.pack("<Q", 8) + b"not json",
        "tiny": b"\x01",
        "zero": b"",
        "page": b"<!DOCTYPE html><html><title>404</title></html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    }
    (folder / "weights").mkdir()
    for name, data in files.items():
        (folder / "weights" / f"{name}.safetensors").write_bytes(data)
    (folder / "weights" / "pickle.pth").write_bytes(b"\x80\x04cos\nsystem\n(S'echo'\ntR.")
    (folder / "weights" / "text.pt").write_text("hello", encoding="utf-8")
    (folder / "config").mkdir()
    (folder / "config" / "config.json").write_text("{", encoding="utf-8")
    (folder / "config" / "diffusion_pytorch_model.safetensors").write_bytes(files["unknown"])


def _vaes(folder: Path) -> None:
    import torch

    from wanctl.checkpoint.save import save_vae
    from wanctl.checkpoint.tiny_decoder import save_tiny_decoder
    from wanctl.model.vae.autoencoder import WanVAE
    from wanctl.model.vae.tiny_decoder import TinyDecoder, TinyDecoderShape
    from wanctl.model.variants import VAEShape

    shape = VAEShape(dim=4, dim_mult=(1, 1, 1, 1), num_res_blocks=1)
    with torch.random.fork_rng(devices=[]):
        vae = WanVAE(shape)
        save_vae(vae, folder / "vae")
        with torch.no_grad():
            vae.conv1.weight[0] = float("nan")
        save_vae(vae, folder / "nanvae")
        tiny_decoder = TinyDecoder(TinyDecoderShape(widths=(16, 8, 4, 4)))
    save_tiny_decoder(tiny_decoder, folder / "taew")
    (folder / "loose").mkdir()
    shutil.copy(
        folder / "taew/diffusion_pytorch_model.safetensors", folder / "loose/taew2_1.safetensors"
    )
    (folder / "unfinished/vae/checkpoints").mkdir(parents=True)


def _data_sets(folder: Path) -> None:
    descriptions = {
        "damaged": "{",
        "future": json.dumps({"format": 99, "sources": [], "recipe": ""}),
        "listset": "[]",
    }
    for name, text in descriptions.items():
        (folder / name / "dataset").mkdir(parents=True)
        (folder / name / "dataset" / "dataset.json").write_text(text, encoding="utf-8")
    (folder / "foreign" / "dataset").mkdir(parents=True)
    (folder / "foreign" / "dataset" / "mine.doc").write_text("", encoding="utf-8")
    layouts = {
        "bad.jsonl": "{\n",
        "index.csv": "a,b\n1,2\n",
        "index.json": "[",
        "index.toml": "[[",
        "index.parquet": "PAR1",
        "index.tar": "no tar",
    }
    (folder / "layouts").mkdir()
    for name, text in layouts.items():
        (folder / "layouts" / name).write_text(text, encoding="utf-8")
