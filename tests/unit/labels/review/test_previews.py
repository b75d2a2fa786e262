"""Videos of clips for the page: any clip, small files, bounded space."""

import av
import pytest
from review_set import FPS, FRAMES, make_footage

from wanctl.labels.review import previews
from wanctl.labels.review.previews import PreviewError, Previews, encode_preview
from wanctl.video.workers.worker_pool import Failure


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    path = tmp_path_factory.mktemp("footage") / "a.mp4"
    make_footage(path)
    return path


def sizes(path):
    """(height, width) of each frame."""
    with av.open(str(path)) as container:
        return [(frame.height, frame.width) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("frames", "fps", "shown"), [(FRAMES, float(FPS), FRAMES), (1, None, 1), (1, 1000.0, 3)]
)
def test_a_clip_of_any_length_and_rate(footage, tmp_path, frames, fps, shown):
    """A still image has no rate; a rate beyond 30 is lowered to it."""
    span = (0, frames * 1024, None)
    path = tmp_path / "preview.mp4"
    encode_preview(str(footage), span, frames / FPS, fps, (24, 32), path)
    assert sizes(path) == [(24, 32)] * shown


def test_only_the_beginning_of_a_long_clip_is_shown(footage, tmp_path, monkeypatch):
    monkeypatch.setattr(previews, "MAX_S", 0.25)
    path = tmp_path / "preview.mp4"
    encode_preview(str(footage), (0, FRAMES * 1024, None), 1.0, float(FPS), (24, 32), path)
    assert len(sizes(path)) == 4


class Pool:
    """Stands for the decode workers: writes 100 bytes, or fails."""

    def __init__(self):
        self.tasks, self.failure = [], None

    def map(self, function, tasks):
        for number, task in enumerate(tasks):
            self.tasks.append(task)
            if self.failure is None:
                task[-1].write_bytes(b"x" * 100)
            yield number, self.failure


def clip(name):
    return {"id": name, "source": "a", "start_pts": 0, "end_pts": 9, "start_s": 0.0, "end_s": 1.0,
            "fps": 25.0, "width": 1920, "height": 1080}  # fmt: skip


def test_a_clip_is_encoded_once_and_the_oldest_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(previews, "MAX_BYTES", 250)
    pool = Pool()
    videos = Previews(tmp_path, pool)
    for name in ("a", "b", "a", "c"):
        videos.file(clip(name))
    assert len(pool.tasks) == 3
    assert pool.tasks[0][-2] == (360, 640)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "c.mp4"]


def test_a_failure_is_remembered_until_it_is_tried_again(tmp_path):
    pool = Pool()
    pool.failure = Failure("encode_preview", "timeout", "no result after 5 s")
    videos = Previews(tmp_path, pool)
    for _ in range(2):
        with pytest.raises(PreviewError, match="no result after 5 s"):
            videos.file(clip("a"))
    assert len(pool.tasks) == 1
    pool.failure = None
    assert videos.file(clip("a"), again=True).exists()
