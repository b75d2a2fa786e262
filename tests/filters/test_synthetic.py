"""Provenance in files: written with real muxers, or by hand where no muxer writes it."""

import random
import struct
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest

from wanctl.curate.api import ClipBatch, FilterUnavailableError, Ragged, UserError
from wanctl.video.encode import write_video
from wanctl_filters.synthetic.filter import Synthetic
from wanctl_filters.synthetic.provenance import MAX_BYTES, read_provenance

C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
GENERATED = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FILMED = b"http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), dtype=np.uint8)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def provenance(path: Path):
    with path.open("rb") as file:
        return read_provenance(file)


def judge(filter_: Synthetic, path: Path, row, frames, **changes):
    clip = row(frames, source=str(path), **changes)
    return filter_.decide(clip, filter_.measure(clip, None))


@pytest.fixture
def plain(tmp_path, frames) -> Path:
    write_video(tmp_path / "plain.mp4", frames, 24)
    return tmp_path / "plain.mp4"


def test_our_own_samples_declare_themselves(tmp_path, frames, row):
    path = tmp_path / "ours.mp4"
    write_video(path, frames, 16, metadata={"software": "wanctl 0.1.0", "prompt": "a fox"})
    assert "software=wanctl 0.1.0" in provenance(path).tags
    verdict = judge(Synthetic(embedding="none"), path, row, frames)
    assert verdict.keep
    assert (verdict.score, verdict.label) == (0.99, "declared")
    strict = judge(Synthetic(embedding="none", max_probability=0.5), path, row, frames)
    assert strict.reason == "generated with probability 0.99, allowed 0.5"


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_tags_that_muxers_write(tmp_path, row, frames, suffix):
    path = tmp_path / f"tagged.{suffix}"
    codec = "libvpx" if suffix == "webm" else "mpeg4"
    with av.open(str(path), "w") as container:
        container.metadata.update({"comment": "Made with Runway Gen-4", "title": "Sora no oto"})
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    assert any(tag.endswith("=Made with Runway Gen-4") for tag in provenance(path).tags)
    assert judge(Synthetic(embedding="none"), path, row, frames).score == 0.99
    # a title is free text and does not declare anything
    mild = Synthetic(embedding="none", generators=("sora",))
    assert judge(mild, path, row, frames).score is None


@pytest.mark.parametrize(
    ("content", "score"),
    [
        (GENERATED, 0.99),
        (FILMED, None),  # cameras sign their files too
        (b"\x6fclaim_generator\x6cKling AI/1.6rest", 0.99),
        (b"\x6fclaim_generator\x78\x1eA long name of OpenAI's programrest", 0.99),
        (b'{"softwareAgent": "Adobe Firefly"}', 0.99),
        (b"\x6fclaim_generator\x69Leica M11kling", None),
    ],
)
def test_content_credentials(plain, row, frames, content, score):
    manifest = box(b"uuid", C2PA + b"\0\0\0\0manifest\0" + bytes(8) + box(b"jumb", content))
    plain.write_bytes(plain.read_bytes() + manifest)
    assert provenance(plain).marks[0] == "c2pa"
    verdict = judge(Synthetic(embedding="none"), plain, row, frames)
    assert verdict.score == score


def test_plain_footage_says_nothing(plain, row, frames):
    verdict = judge(Synthetic(embedding="none", max_probability=0.1), plain, row, frames)
    assert verdict.keep
    assert verdict.score is None


def test_typical_shape_is_a_weak_hint(plain, row, frames):
    filter_ = Synthetic(embedding="none")
    typical = {"width": 480, "height": 832, "num_frames": 81, "fps": 16.0}
    assert judge(filter_, plain, row, frames, **typical).score == 0.3
    for change in ({"num_frames": 80}, {"fps": 25.0}, {"width": 482}):
        assert judge(filter_, plain, row, frames, **{**typical, **change}).score is None


def test_the_one_generated_clip_among_real_ones(real, row):
    """By its shape alone: its tags are lost. No filmed clip shares it."""
    name, clip, _ = real
    filter_ = Synthetic(embedding="none")
    bare = {"tags": [], "marks": []}
    assert filter_.decide(clip, bare).score == (0.3 if name == "hiker" else None)


def test_hostile_headers_end(tmp_path, plain):
    """Truncated, flipped and endless ones: no crash, bounded reading."""
    good = plain.read_bytes()
    rng = random.Random(4)
    path = tmp_path / "bad.mp4"
    for _ in range(400):
        data = bytearray(good[: rng.randrange(len(good))] if rng.random() < 0.5 else good)
        for _ in range(rng.randrange(12)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        result = provenance(path)
        assert len(result.tags) <= 64
    nested = b""
    for _ in range(5000):
        nested = box(b"moov", nested)
    for data in (
        nested,
        box(b"ftyp", b"isom") + struct.pack(">I4s", 1, b"moov") + b"\xff" * 8 + b"abc",
        box(b"ftyp", b"isom") + struct.pack(">I4s", 4, b"moov") * 9,
        box(b"ftyp", b"isom") * 9000,
        b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\x12\x54" * 4000,
        b"",
        b"\0" * 40,
    ):
        path.write_bytes(data)
        provenance(path)


def test_little_is_read_of_a_large_file(tmp_path):
    class Counting:
        def __init__(self, file):
            self.file, self.count = file, 0

        def seek(self, *place):
            return self.file.seek(*place)

        def read(self, count):
            self.count += count
            return self.file.read(count)

    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.write(box(b"ftyp", b"isom") + struct.pack(">I4s", 60_000_000, b"uuid") + C2PA)
        file.truncate(60_000_020)
    with path.open("rb") as file:
        counting = Counting(file)
        assert read_provenance(counting).marks == ["c2pa"]
    assert counting.count <= MAX_BYTES


def labelled(count: int, seed: int = 0):
    """Vectors of two kinds that overlap, from twenty sources."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(count) % 2
    vectors = rng.normal(size=(count, 32)).astype(np.float32)
    vectors[:, 0] += np.where(kinds, 2.0, -2.0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clips = pa.table({
        "id": [f"{seed}-{number:04d}" for number in range(count)],
        "source": [f"{number % 20}.mp4" for number in range(count)],
        "width": [640] * count, "height": [360] * count, "fps": [25.0] * count,
        "num_frames": [100] * count,
    })  # fmt: skip
    evidence = pa.table({"tags": [[]] * count, "marks": [[]] * count})
    units = Ragged(vectors.astype(np.float16), np.arange(count + 1))
    return ClipBatch(clips, evidence, np.zeros((count, 4)), {}, units), kinds


def test_a_probe_is_trained_stored_and_used(tmp_path):
    from safetensors.numpy import save_file
    from sklearn.metrics import average_precision_score

    batch, kinds = labelled(200)
    trained = Synthetic().train(batch, [str(kind) for kind in kinds])
    assert trained.report["labels"] == 200
    assert trained.report["average_precision"] > 0.95
    file = tmp_path / "head.safetensors"
    save_file(dict(trained.tensors), file, metadata=dict(trained.metadata))
    new, truth = labelled(400, seed=1)
    probe = Synthetic(head=str(file))
    score = probe.decide_many(new).score
    # the average precision on new clips is that of the held-out folds
    assert average_precision_score(truth, score) == pytest.approx(
        trained.report["average_precision"], abs=0.03
    )
    assert ((score > 0.5) == truth).mean() > 0.9
    half = Synthetic(head=str(file), max_probability=0.5).decide_many(new)
    assert half.keep.tolist() == (score <= 0.5).tolist()
    with pytest.raises(FilterUnavailableError, match="trained on embedding cnn@"):
        Synthetic(head=str(file), samples=5).decide_many(new)
    with pytest.raises(UserError, match="of both kinds"):
        Synthetic().train(batch, ["1"] * 200)
    with pytest.raises(FilterUnavailableError, match="filters fit synthetic"):
        Synthetic(head=str(tmp_path / "none")).decide_many(new)
