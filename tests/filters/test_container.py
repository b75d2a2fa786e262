"""What a file is and how it was made: drawn fields and repeats, and files written here."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from wanctl.curate.split.clip_rows import SplitRules, make_clips
from wanctl.video.decode import read_window
from wanctl.video.interlace import InterlaceAnalyzer, frozen, is_combed, repeats
from wanctl.video.probe import scan
from wanctl_filters.container import Container

RULES = SplitRules(0, 0.1, None)
CURVES = {"smpte2084": 16, "arib_std_b67": 18}


@pytest.fixture
def judged(row):
    """judged(filter, **columns of the clip) -> Verdict."""

    def judge(filter_=None, **changes):
        filter_ = filter_ or Container()
        columns = {"bit_rate": 2e6, "coded_width": 640, "coded_height": 360, **changes}
        clip = row(np.zeros((48, 36, 64, 3)), **columns)
        return filter_.decide(clip, filter_.measure(clip, None))

    return judge


def test_a_sound_file_passes(judged):
    verdict = judged()
    assert verdict.keep
    assert verdict.score == pytest.approx(2e6 / (640 * 360 * 24))
    assert verdict.label is None


@pytest.mark.parametrize(
    ("label", "bad", "good", "off"),
    [
        ("bits", {"bit_rate": 1e5}, {"bit_rate": 1.2e5}, {"min_bits_per_pixel": None}),
        ("rate", {"fps": 15.0}, {"fps": 16.0}, {"min_fps": None}),
        ("shape", {"width": 1000, "height": 330}, {"width": 990, "height": 330},
         {"max_aspect": None}),
        ("shape", {"width": 330, "height": 1000}, {"width": 330, "height": 990},
         {"max_aspect": None}),
        ("interlaced", {"comb_share": 0.5}, {"comb_share": 0.1}, {"max_combs": None}),
        ("repeats", {"repeat_share": 0.6}, {"repeat_share": 0.2}, {"max_repeats": None}),
        ("repeats", {"repeat_share": 0.8, "frozen_share": 0.5},
         {"repeat_share": 0.8, "frozen_share": 0.78}, {"max_repeats": None}),
        ("corrupt", {"corrupt_share": 0.01}, {"corrupt_share": 0.0}, {"max_corrupt": None}),
        ("hdr", {"transfer": "smpte2084"}, {"transfer": "bt709"}, {"allow_hdr": True}),
        ("pixels", {"sar_num": 3}, {"sar_num": 2}, {"max_pixel_aspect": None}),
    ],
)  # fmt: skip
def test_every_rule_has_two_sides_and_a_switch(judged, label, bad, good, off):
    verdict = judged(**bad)
    assert not verdict.keep
    assert verdict.label == label
    assert judged(**good).keep
    assert judged(Container(**off), **bad).keep


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ({"allow_vfr": False}, {"vfr": True}),
        ({"allow_rotation": False}, {"rotation": 90}),
        ({"allow_interlaced": False}, {"interlaced": True}),
        ({"require_audio": True}, {"has_audio": False}),
        ({"max_fps": 30.0}, {"fps": 60.0}),
        ({"max_frozen": 0.3}, {"repeat_share": 0.5, "frozen_share": 0.5}),
    ],
)
def test_rules_that_are_off_by_default(judged, key, bad):
    assert judged(**bad).keep
    assert not judged(Container(**key), **bad).keep


def test_an_unknown_bit_rate_is_no_fault(judged):
    verdict = judged(bit_rate=0.0)
    assert verdict.keep
    assert verdict.score is None


def test_woven_fields_show_where_something_moves(texture):
    luma = texture[..., 1]
    woven = luma[0].copy()
    woven[1::2] = luma[2][1::2]  # the lower field is later: the texture has moved by 27 px
    assert is_combed(woven)
    assert not any(is_combed(frame) for frame in luma)
    still = luma[0].copy()
    still[1::2] = luma[0][1::2]
    assert not is_combed(still)


def woven_fields(texture, picture_of_field):
    """Luma frames whose upper and lower rows come from the pictures of two fields each."""
    luma = texture[..., 1]
    for number in range(len(picture_of_field) // 2):
        frame = luma[picture_of_field[2 * number] % len(luma)].copy()
        frame[1::2] = luma[picture_of_field[2 * number + 1] % len(luma)][1::2]
        yield frame


def fields_of(cycle, count):
    """Number of the film's picture in each field, when pictures take turns in `cycle` fields."""
    pictures = []
    for number in range(count):
        pictures += [number] * cycle[number % len(cycle)]
    return pictures[: count * 2]


def measured(frames) -> InterlaceAnalyzer:
    analyzer = InterlaceAnalyzer()
    for frame in frames:
        analyzer.add(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray"))
    return analyzer


CYCLES = {
    "film at 29.97, 3:2": ((2, 3), 0.4),
    "film at 29.97, 2:3:3:2": ((2, 3, 3, 2), 0.2),
    "film at 25": ((2,) * 11 + (3,), 0.48),
    "film at 29.97, 3:2 turned": ((3, 2), 0.4),
    "fields of 50 or 60 pictures a second": ((1,), 1.0),
    "25 at 29.97": ((2, 2, 2, 3, 3), 0.17),
    "whole frames": ((2,), 0.0),
}


@pytest.mark.parametrize("cycle", CYCLES)
def test_pulldown_is_found_at_any_phase_and_in_short_clips(texture, cycle):
    """Frames of a cycle come at the same places, so looking at every 5th or 20th is chance."""
    fields, share = CYCLES[cycle]
    frames = list(woven_fields(texture, fields_of(fields, 260)))
    truth = np.array([is_combed(frame) for frame in frames])
    assert truth.mean() == pytest.approx(share, abs=0.06)
    for phase in (0, 1, 3, 4):
        combed = np.array(measured(frames[phase:]).combed)
        checked = combed[combed >= 0]
        assert checked.mean() == pytest.approx(truth[phase:].mean(), abs=0.08), phase
        for start in range(0, 120, 17):  # clips of 1.2 and 4 seconds
            for length, most in ((35, 0.25), (120, 0.12)):
                part = combed[start : start + length]
                real = truth[phase + start : phase + start + length].mean()
                assert part[part >= 0].mean() == pytest.approx(real, abs=most)


def test_the_figures_of_a_file_do_not_depend_on_the_run(texture):
    frames = list(woven_fields(texture, fields_of((2, 3), 60)))
    first, second = measured(frames), measured(frames)
    assert (first.combed, first.change) == (second.combed, second.change)


def test_film_by_pulldown_is_dropped(tmp_path, texture, judged):
    """At 29.97 fps two of five frames are woven."""
    frames = list(woven_fields(texture, fields_of((2, 3), 90)))
    pictures = [np.repeat(frame[..., None], 3, axis=2) for frame in frames]
    clip = _row_of(_write(tmp_path / "film.mp4", pictures, rate=30, options={"crf": "18"}))
    assert clip["comb_share"] == pytest.approx(0.4, abs=0.1)
    verdict = judged(comb_share=clip["comb_share"])
    assert verdict.label == "interlaced"


def test_fine_print_and_grids_are_not_woven():
    rng = np.random.default_rng(0)
    noise = rng.integers(60, 200, (360, 640), dtype=np.uint8)
    checks = np.indices((360, 640)).sum(axis=0) % 2 * np.uint8(200)
    assert not is_combed(noise)
    assert not is_combed(checks)


def test_stripes_are_combed_only_where_they_move_between_the_fields():
    rows = np.arange(96)[:, None]
    # bright and dark rows that change places every 24 columns, as tilted slats do
    slats = np.where((rows + np.arange(128) // 24) % 2, 150, 90).astype(np.uint8)
    assert is_combed(slats)
    assert not is_combed(slats, before=slats)
    assert is_combed(slats, before=slats[::-1])
    level = np.broadcast_to(np.where(rows % 2, 150, 90), (96, 128)).astype(np.uint8)
    assert not is_combed(level), "neither field shows what the other one does"


@pytest.mark.parametrize(("pattern", "share"), [((2, 3), 0.6), ((1, 1, 1, 2), 0.2), ((2,), 0.5)])
def test_repeats_of_conversions(pattern, share):
    """Changes as the scan measures them: real ones vary, repeats are noise."""
    rng = np.random.default_rng(1)
    change = [255.0]
    for index in range(120):
        times = pattern[index % len(pattern)]
        change += [float(rng.uniform(6, 40)), *rng.uniform(0, 0.4, times - 1).tolist()]
    same = repeats(np.array(change))
    assert same.mean() == pytest.approx(share, abs=0.02)
    assert not frozen(same, np.full(len(same), 1 / 60)).any()


def test_slow_scenes_repeat_nothing_and_standstills_are_told_apart():
    slow = np.array([255.0, *np.random.default_rng(2).uniform(0.8, 1.2, 60)])
    assert not repeats(slow).any()
    held = np.concatenate([[255.0], np.full(30, 9.0), np.zeros(30)])
    same = repeats(held)
    assert same.sum() == 30
    assert frozen(same, np.full(61, 1 / 24)).sum() == 30


def _write(path: Path, frames, rate=24, transfer=None, options=None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options=options or {"crf": "18"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if transfer:
            stream.codec_context.color_trc = transfer
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _row_of(path: Path):
    (clip,) = make_clips(scan(path), str(path), [], RULES).rows
    return clip


def test_a_conversion_from_24_to_60_is_found_in_a_file(tmp_path, texture):
    stepped = [texture[int(index * 24 / 60)] for index in range(60)]
    clip = _row_of(_write(tmp_path / "60.mp4", stepped, rate=60))
    assert clip["repeat_share"] == pytest.approx(0.6, abs=0.03)
    plain = _row_of(_write(tmp_path / "24.mp4", texture))
    assert plain["repeat_share"] == 0
    size = (tmp_path / "24.mp4").stat().st_size
    assert plain["bit_rate"] == pytest.approx(8 * size / 1.0, rel=0.1)


def test_a_doubled_frame_rate_is_kept_and_read_without_repeats(tmp_path, texture, judged):
    doubled = [texture[index // 2] for index in range(48)]
    clip = _row_of(_write(tmp_path / "48.mp4", doubled, rate=48))
    assert clip["repeat_share"] == pytest.approx(0.5, abs=0.03)
    shares = {name: clip[name] for name in ("fps", "repeat_share", "frozen_share", "moving_share")}
    assert judged(**shares).keep
    assert judged(**{**shares, "fps": 24.0}).label == "repeats"
    video = read_window(tmp_path / "48.mp4", clip["start_pts"], clip["end_pts"], fps=16)
    assert np.abs(np.diff(video.astype(int), axis=0)).mean(axis=(1, 2, 3)).min() > 3


def test_a_woven_file_is_found(tmp_path, texture):
    woven = []
    for first, second in zip(texture[::2], texture[1::2], strict=True):
        picture = first.copy()
        picture[1::2] = second[1::2]
        woven.append(picture)
    clip = _row_of(_write(tmp_path / "woven.mp4", woven))
    assert clip["comb_share"] == 1
    assert not clip["interlaced"]
    flagged = _row_of(
        _write(tmp_path / "flag.mp4", woven, options={"crf": "18", "x264-params": "tff=1"})
    )
    assert flagged["interlaced"]


@pytest.mark.parametrize("name", CURVES)
def test_hdr_is_named(tmp_path, texture, name):
    clip = _row_of(_write(tmp_path / f"{name}.mp4", texture[:8], transfer=CURVES[name]))
    assert clip["transfer"] == name


def test_wide_gamut_without_a_curve_is_dropped_on_request(judged):
    strict = Container(allow_unknown_curve=False)
    assert judged(primaries="bt2020", transfer="").keep
    verdict = judged(strict, primaries="bt2020", transfer="")
    assert verdict.label == "hdr"
    assert "may be HDR" in verdict.reason
    for columns in ({"primaries": "bt2020", "transfer": "bt2020_10"}, {"primaries": None}):
        assert judged(strict, **columns).keep
