"""Sound of files of sound and of videos: parts of it, and files that have none."""

import wave

import av
import numpy as np
import pytest

from wanctl.model.variants import SPEECH_RATE
from wanctl.video.encode import write_video
from wanctl.video.opening import VideoError, open_container
from wanctl.video.sound.read import TRACK_RATE, read_sound

RATE, SECONDS = 44_100, 1.5


def tone(rate=RATE, seconds=SECONDS):
    return (12_000 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)).astype("<i2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    with wave.open(str(folder / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(tone().tobytes())
    return folder


def write_coded(path, codec, container_format):
    """The tone in two channels, of which the right one is silent."""
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=TRACK_RATE, layout="stereo")
        both = np.stack((tone(TRACK_RATE), np.zeros(int(TRACK_RATE * SECONDS), "<i2")), axis=1)
        frame = av.AudioFrame.from_ndarray(both.reshape(1, -1), format="s16", layout="stereo")
        frame.rate, frame.pts = TRACK_RATE, 0
        for each in [*av.AudioResampler(stream.format, "stereo", TRACK_RATE).resample(frame), None]:
            container.mux(stream.encode(each))


def test_a_wav_is_read_at_both_rates(folder):
    speech, track = read_sound(folder / "tone.wav", SPEECH_RATE)
    assert (speech.shape, speech.dtype) == ((int(SPEECH_RATE * SECONDS),), np.float32)
    assert (track.shape, track.dtype) == ((int(TRACK_RATE * SECONDS), 2), np.int16)
    expected = 12_000 / 32_768 * np.sin(2 * np.pi * 440 * np.arange(len(speech)) / SPEECH_RATE)
    inside = slice(100, -100)
    assert np.abs(speech - expected)[inside].max() < 2e-3
    assert np.abs(track[::3, 0] / 32_768 - expected)[inside].max() < 2e-3  # as loud in both


def test_a_part_is_that_of_the_whole(folder):
    whole, part = (
        read_sound(folder / "tone.wav", SPEECH_RATE),
        read_sound(folder / "tone.wav", SPEECH_RATE, 0.5, 0.25),
    )
    assert np.array_equal(part.speech, whole.speech[8000:12_000])
    assert np.array_equal(part.track, whole.track[24_000:36_000])
    assert len(read_sound(folder / "tone.wav", SPEECH_RATE, 1.0, 9.0).speech) == SPEECH_RATE // 2


@pytest.mark.parametrize(
    ("name", "codec", "kind"), [("a.mp3", "libmp3lame", "mp3"), ("a.m4a", "aac", "ipod")]
)
def test_coded_sound_is_read_and_channels_are_mixed(folder, name, codec, kind):
    write_coded(folder / name, codec, kind)
    speech, track = read_sound(folder / name, SPEECH_RATE)
    assert abs(len(track) / TRACK_RATE - SECONDS) < 0.06
    assert np.abs(speech[2000:20_000]).max() == pytest.approx(12_000 / 32_768 / 2, rel=0.05)
    assert np.abs(track[6000:60_000, 1]).max() < 500


def test_the_sound_of_a_video_ends_with_its_frames(folder):
    track = np.repeat(tone(TRACK_RATE)[:, None], 2, axis=1)
    for name in ("talk.mp4", "again.mp4"):
        write_video(folder / name, np.zeros((16, 32, 32, 3), np.uint8), 16.0, sound=track)
    assert (folder / "talk.mp4").read_bytes() == (folder / "again.mp4").read_bytes()
    read = read_sound(folder / "talk.mp4", SPEECH_RATE).track
    assert abs(len(read) - TRACK_RATE) < 2048  # a packet of AAC
    assert np.corrcoef(read[5000:40_000, 0], track[5000:40_000, 0])[0, 1] > 0.99


def test_files_without_sound_are_named(folder, tmp_path):
    write_video(tmp_path / "silent.mp4", np.zeros((4, 32, 32, 3), np.uint8), 16.0)
    whole = (folder / "tone.wav").read_bytes()
    (tmp_path / "head.wav").write_bytes(whole[:44])
    (tmp_path / "words.wav").write_bytes(b"no sound at all " * 99)
    write_video(tmp_path / "talk.mp4", np.zeros((16, 32, 32, 3), np.uint8), 16.0,
                sound=np.repeat(tone(TRACK_RATE)[:, None], 2, axis=1))  # fmt: skip
    talk = (tmp_path / "talk.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(talk[: len(talk) * 2 // 3])
    for name, message in (
        ("silent.mp4", "silent.mp4: has no sound"),
        ("head.wav", "head.wav: its sound is empty"),
        ("words.wav", "words.wav: not a sound or video"),
        ("cut.mp4", "cut.mp4: its sound is damaged after"),
        ("nowhere.wav", "nowhere.wav: cannot be opened"),
    ):
        with pytest.raises(VideoError) as caught:
            read_sound(tmp_path / name, SPEECH_RATE)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(VideoError, match=r"lasts 1\.50 s; nothing of it is left after 2 s"):
        read_sound(folder / "tone.wav", SPEECH_RATE, 2.0)


def test_footage_is_never_sound_alone(folder):
    with pytest.raises(VideoError, match="not a video"), open_container(folder / "tone.wav"):
        pass
