from pathlib import PurePosixPath

import pytest

from wanctl.data.sidecars.match import SidecarError, match_beside, match_in
from wanctl.data.sidecars.texts import captions_in, captions_of_facts, read_sidecar
from wanctl.textfiles import TextError


def write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"words of {name}", encoding="utf-8")


def matched(folder, *media):
    """Media -> its sidecars relative to the folder; the unused ones."""
    found = match_in(folder, [PurePosixPath(each) for each in media])
    files = {
        str(each): [path.relative_to(folder).as_posix() for path in paths]
        for each, paths in found.files.items()
    }
    return files, [path.relative_to(folder).as_posix() for path in found.unused]


def test_files_of_one_name_in_two_folders_get_their_own_sidecars(tmp_path):
    write(tmp_path, "a/c.txt", "b/c.txt", "b/c.json", "d.txt", "stray.txt", "b/more/e.txt")
    files, unused = matched(tmp_path, "/f/a/c.mp4", "/f/b/c.mp4", "/f/b/d.mp4", "/f/b/more/e.mp4")
    assert files == {
        "/f/a/c.mp4": ["a/c.txt"],
        "/f/b/c.mp4": ["b/c.json", "b/c.txt"],
        "/f/b/d.mp4": ["d.txt"],
        "/f/b/more/e.mp4": ["b/more/e.txt"],
    }
    assert unused == ["stray.txt"]


def test_the_longest_path_counts(tmp_path):
    write(tmp_path, "c.txt", "a/c.txt", "f/a/c.txt")
    files, unused = matched(tmp_path, "/f/a/c.mp4")
    assert files == {"/f/a/c.mp4": ["f/a/c.txt"]}
    assert unused == ["a/c.txt", "c.txt"]
    files, _ = matched(tmp_path, "/g/c.mp4", "/g/d.mp4")
    assert files["/g/c.mp4"] == ["c.txt"], "all files in one folder: its sidecars may be flat"
    assert files["/g/d.mp4"] == []


@pytest.mark.parametrize(
    ("sidecars", "media", "why"),
    [
        (["c.txt"], ["/f/a/c.mp4", "/f/b/c.mp4"], "c.txt fits /f/a/c.mp4, /f/b/c.mp4"),
        (["a/c.txt", "c.txt"], ["/f/a/c.mp4", "/f/b/c.mp4"], "c.txt fits /f/a/c.mp4, /f/b/c.mp4"),
        (["a/c.txt"], ["/x/a/c.mp4", "/y/a/c.mp4"], "a/c.txt fits /x/a/c.mp4, /y/a/c.mp4"),
        (["x/c.txt", "y/c.txt"], ["/f/a/c.mp4", "/f/b/d.mp4"], "x/c.txt, .*y/c.txt fit /f/a/c.mp4"),
        (["c.json"], ["/f/a/c.mp4", "/f/b/c.mov", "/f/e/c.avi", "/g/c.ts"], "and 1 more"),
    ],
)
def test_a_name_that_fits_several_is_an_error(tmp_path, sidecars, media, why):
    write(tmp_path, *sidecars)
    with pytest.raises(SidecarError, match=why) as caught:
        matched(tmp_path, *media)
    assert "a/c.txt for a/c.mp4" in str(caught.value)


def test_a_file_without_a_sidecar_is_no_ambiguity(tmp_path):
    write(tmp_path, "a/c.txt")
    files, unused = matched(tmp_path, "/f/a/c.mp4", "/f/b/c.mp4")
    assert (files["/f/b/c.mp4"], unused) == ([], [])


def test_a_json_and_a_text_of_one_name_are_one_sidecar(tmp_path):
    write(tmp_path, "texts/c.txt", "texts/c.json")
    files, _ = matched(tmp_path, "/f/a/c.mp4", "/f/b/d.mp4")
    assert files["/f/a/c.mp4"] == ["texts/c.json", "texts/c.txt"]


def test_names_beside_the_files(tmp_path):
    write(
        tmp_path, "c.mp4.txt", "c.txt", "D.TXT", "e.b.txt", ".hidden.txt", "sub/f.txt", "README.txt"
    )
    write(tmp_path, "cafe\u0301.txt")
    names = ("c.mp4", "c.mov", "D.mp4", "e.b.mp4", "f.mp4", "caf\u00e9.mp4")
    media = [PurePosixPath(tmp_path / name) for name in names]
    found = match_beside(media)
    files = {each.name: [path.name for path in found.files[each]] for each in media}
    assert files == {
        "c.mp4": ["c.mp4.txt", "c.txt"], "c.mov": ["c.txt"], "D.mp4": ["D.TXT"],
        "e.b.mp4": ["e.b.txt"], "f.mp4": [], "caf\u00e9.mp4": ["cafe\u0301.txt"],
    }  # fmt: skip
    assert [path.name for path in found.unused] == ["README.txt"]
    assert [[each.name for each in users] for users in found.shared.values()] == [
        ["c.mp4", "c.mov"]
    ]


def test_a_sidecar_in_two_cases_is_used_once_and_counted(tmp_path):
    write(tmp_path, "c.txt", "c.TXT")
    found = match_beside([PurePosixPath(tmp_path / "c.mp4")])
    assert [path.name for (files) in found.files.values() for path in files] == ["c.txt"]
    assert [path.name for path in found.unused] == ["c.TXT"]


def test_sources_on_a_server_match_a_folder(tmp_path):
    write(tmp_path, "a/c.txt")
    files, _ = matched(tmp_path, "https:/host/set/a/c.mp4", "https:/host/set/b/c.mp4")
    assert files["https:/host/set/a/c.mp4"] == ["a/c.txt"]


@pytest.mark.parametrize(
    ("value", "texts", "num_problems"),
    [
        ("A cat", ["A cat"], 0),
        ("  ", [], 0),
        ("\ufeffA cat \n", ["A cat"], 0),
        (None, [], 0),
        (["A cat", "A dog"], ["A cat", "A dog"], 0),
        ([None, "A cat"], ["A cat"], 1),
        ([["A cat"], 3, True, {"a": 1}, "A dog"], ["A dog"], 4),
        ({"long": "A cat", "short": None, "n": 4}, ["A cat"], 1),
        ([{"text": "A cat", "variant": "long"}], ["A cat"], 0),
        ({"caption": "A cat", "score": 0.5}, ["A cat"], 0),
        (12, [], 1),
        (False, [], 1),
        ("\ud83d", [], 1),
        (b"bytes", [], 1),
    ],
)
def test_a_text_is_one_caption_and_what_is_none_is_named(value, texts, num_problems):
    found = captions_in(value)
    assert [each.text for each in found.captions] == texts
    assert len(found.problems) == num_problems


def test_captions_of_one_clip_have_different_variants():
    for value in (["a", "b", "c"], {"long": "a", "short": "b"}, [{"text": "a"}, {"text": "b"}]):
        variants = [each.variant for each in captions_in(value).captions]
        assert len(set(variants)) == len(variants)


def test_facts_give_the_first_key_with_a_caption():
    facts = {"caption": "", "prompt": None, "text": "A cat", "captions": ["A dog"]}
    assert [each.text for each in captions_of_facts(facts).captions] == ["A cat"]
    found = captions_of_facts({"caption": 5, "text": "A cat"})
    assert found.captions[0].text == "A cat"
    assert found.problems == ("caption: got 5, need text",)


@pytest.mark.parametrize(
    "text", ["{", "[" * 100000, '{"a": ' + "9" * 5000 + "}", "", "\ufeff\ufeff{}"]
)
def test_json_that_cannot_be_read_is_one_line(tmp_path, text):
    path = tmp_path / "a.JSON"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TextError, match=r"a.JSON: not") as caught:
        read_sidecar(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_repeated_key_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"caption": "A cat", "caption": "A dog"}', encoding="utf-8")
    found = captions_of_facts(read_sidecar(path))
    assert [each.text for each in found.captions] == ["A dog"]
    assert found.problems == ("caption comes twice, the last one counts",)


def test_matching_many_files_is_linear(tmp_path):
    for index in range(300):
        (tmp_path / f"{index}.txt").touch()
    media = [PurePosixPath(f"/f/{index % 7}/{index}.mp4") for index in range(300)]
    found = match_in(tmp_path, media)
    assert all(len(files) == 1 for files in found.files.values())
    assert found.unused == []


def test_folders_behind_links_are_looked_into_once(tmp_path):
    write(tmp_path / "elsewhere", "c.txt")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "texts" / "loop").symlink_to(tmp_path / "texts")
    files, unused = matched(tmp_path / "texts", "/f/a/c.mp4", "/f/b/c.mp4")
    assert files == {"/f/a/c.mp4": ["a/c.txt"], "/f/b/c.mp4": []}
    assert unused == []
