"""The review server: who gets in, what it answers, what it refuses."""

import json
import socket

import pytest
from review_client import OPTIONS, running
from review_set import HOSTILE, MARKUP, VARIANTS, clip_name

from wanctl.errors import UserError
from wanctl.labels.review.http_server import HEADERS, byte_range

CLIP = clip_name(0)


def test_the_token_opens_the_page_and_leaves_the_address(client):
    status, headers, _ = client.ask("GET", f"/?token={client.token}", Cookie=None)
    assert (status, headers["Location"]) == (303, "/")
    assert "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]
    cookie = headers["Set-Cookie"].partition(";")[0]
    status, headers, page = client.ask("GET", "/", Cookie=cookie)
    assert status == 200
    assert HEADERS.items() <= headers.items()
    assert b"<script>" not in page
    assert b"style=" not in page
    assert f'content="{client.token}"'.encode() in page


@pytest.mark.parametrize("path", ["/", "/review.js", "/api/start", f"/video/{CLIP}.mp4"])
def test_without_the_token_nothing_is_shown(client, path):
    for cookie in (None, "", client.cookie[:-1] + "x", "wanctl-review-1=x", "a=%FF; \xe9=\x7f"):
        status, _, data = client.ask("GET", path, Cookie=cookie)
        assert status == 403
        assert "it has the token" in json.loads(data)["error"]
    status, _, _ = client.ask("GET", "/?token=wrong", Cookie=None)
    assert status == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", None, "", "[::1"])
def test_other_host_names_are_refused(client, host):
    """A page of another site whose name was rebound to 127.0.0.1 sends its own name."""
    assert client.ask("GET", "/api/start", Host=host)[0] == 403
    assert client.ask("GET", f"/?token={client.token}", Host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:80"])
def test_names_of_this_machine_are_known_whatever_the_port(client, host):
    """`ssh -L 9000:localhost:PORT` is how a page on a server is opened."""
    assert client.ask("GET", "/api/start", Host=host)[0] == 200


def test_a_post_needs_the_token_and_its_own_origin(client):
    change = {"id": CLIP, "variant": VARIANTS[0], "before": None,
              "after": {"text": "x", "backend": "vlm"}}  # fmt: skip
    body = {"action": "edit", "changes": [change]}
    own = f"http://127.0.0.1:{client.port}"
    for headers in ({"X_Review_Token": None}, {"X_Review_Token": "x"}, {"Origin": "http://a.b"}):
        assert client.ask("POST", "/api/decide", body, **headers)[0] == 403
    assert client.get("/api/start")["counts"]["reviewed"] == 0
    assert client.ask("POST", "/api/decide", body, Origin=own)[0] == 200


@pytest.mark.parametrize(
    ("header", "size", "found"),
    [
        ("bytes=0-", 10, (0, 10)), ("bytes=2-4", 10, (2, 5)), ("bytes=-3", 10, (7, 10)),
        ("bytes=5-99", 10, (5, 10)), (None, 10, None), ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None), ("items=0-1", 10, None),
    ],
)  # fmt: skip
def test_ranges(header, size, found):
    assert byte_range(header, size) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=4-2", "bytes=-0"])
def test_ranges_outside_the_file(header):
    with pytest.raises(ValueError, match="10 bytes"):
        byte_range(header, 10)


def test_a_clip_plays_in_ranges(client):
    status, headers, whole = client.ask("GET", f"/video/{CLIP}.mp4")
    assert (status, headers["Content-Type"]) == (200, "video/mp4")
    assert whole[4:8] == b"ftyp"
    status, headers, part = client.ask("GET", f"/video/{CLIP}.mp4", Range="bytes=4-7")
    assert (status, part) == (206, b"ftyp")
    assert headers["Content-Range"] == f"bytes 4-7/{len(whole)}"
    status, headers, nothing = client.ask("GET", f"/video/{CLIP}.mp4", Range="bytes=9999999-")
    assert (status, headers["Content-Range"], nothing) == (416, f"bytes */{len(whole)}", b"")
    status, headers, nothing = client.ask("HEAD", f"/video/{CLIP}.mp4")
    assert (status, headers["Content-Length"], nothing) == (200, str(len(whole)), b"")


def test_a_clip_without_footage_says_so_and_the_rest_works(client):
    gone = clip_name(3)
    status, _, data = client.ask("GET", f"/video/{gone}.mp4")
    assert status == 404
    assert "cannot be played" in json.loads(data)["error"]
    assert client.get(f"/api/clip?id={gone}")["captions"]
    assert client.decide("accept", (gone, VARIANTS[0], None, f"clip 3 as {VARIANTS[0]}"))[0] == 200


def test_a_clip_is_shown_with_all_that_is_known(client):
    clip = client.get(f"/api/clip?id={clip_name(2)}")
    facts = dict(clip["facts"])
    assert (facts["file"], facts["motion"], facts["text read"]) == (HOSTILE, "medium", "none")
    assert clip["structure"]["object_counting"] == [{"object": "column", "count": 3}]
    flagged, *others = clip["captions"]
    assert flagged["variant"] == VARIANTS[1]
    assert flagged["flags"][0]["checks"] == ["camera: the camera stands still", "length: 3 words"]
    assert [each["variant"] for each in others] == [VARIANTS[0], VARIANTS[2], "default"]
    assert client.get(f"/api/clip?id={CLIP}")["captions"][0]["texts"][0]["text"] == MARKUP


@pytest.mark.parametrize("name", ["../../etc/passwd", "0", clip_name(1), "%00", "a" * 3000])
def test_clips_that_are_not_under_review(client, name):
    """Clip 1 exists and is not kept."""
    assert client.ask("GET", f"/video/{name}.mp4")[0] == 404
    assert client.ask("GET", f"/api/clip?id={name}")[0] == 404


@pytest.mark.parametrize("path", ["/../run.py", "/assets/review.js", "/api", "/api/decide"])
def test_other_paths(client, path):
    assert client.ask("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [0, 2, 3, 4, 5]),
        ("state=flagged", [2, 5]),
        ("check=camera", [2, 5]),
        ("check=cam", []),
        ("captioner=template", [0, 2, 3, 4, 5]),
        ("captioner=template&state=flagged", []),
        ("variant=short-formal-zh&text=clip+4", [4]),
        ("field=camera_motion&value=PAN", [0, 2, 4]),
        ("field=action&value=pan", []),
        ("field=object_counting&value=5", [4]),
        ("value=white", [0, 2, 3, 4, 5]),
        ("text=<script>", [0]),
        ("text=%25", []),
        ("text=img+src", [0, 2, 4]),
        ("field=a')--&value=x", []),
        ("state=nonsense&text='", [0]),
    ],
)
def test_filters(client, query, found):
    page = client.get(f"/api/clips?again&{query}")
    assert [int(clip["id"], 16) for clip in page["clips"]] == found
    assert page["total"] == len(found)


def test_pages_of_the_list(client):
    page = client.get("/api/clips?start=1&count=2")
    assert ([int(clip["id"], 16) for clip in page["clips"]], page["total"]) == ([2, 3], 5)
    assert page["clips"][0]["flagged"] == 1
    assert client.get("/api/clips?start=99&count=1000")["clips"] == []
    assert client.get("/api/clips?start=x&count=-1")["total"] == 5


def test_a_clip_keeps_its_place_until_the_list_is_found_anew(client):
    url = "/api/clips?state=flagged"
    text = f"clip 2 as {VARIANTS[1]}"
    assert client.get(f"{url}&again")["total"] == 2
    assert client.get("/api/next?state=flagged&place=-1")["place"] == 0
    assert client.decide("accept", (clip_name(2), VARIANTS[1], None, text))[0] == 200
    assert client.get(url)["total"] == 2
    assert client.get("/api/next?state=flagged&place=-1")["place"] == 1
    assert client.get("/api/next?state=flagged&place=1&step=1")["place"] is None
    assert client.get(f"{url}&again")["total"] == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((CLIP, "no-such", None, "x"), "no caption 'no-such'"),
        ((clip_name(1), VARIANTS[0], None, "x"), "no clip"),
        ((CLIP, VARIANTS[0], None, "x" * 10_001), "10,001 characters; 10,000 are allowed"),
        ((CLIP, VARIANTS[0], None, "?!"), "is empty"),
        ((CLIP, VARIANTS[0], None, "a \x00 dog"), "control character"),
        ((CLIP, VARIANTS[0], None, "a \ud83d dog"), "half a character"),
    ],
)
def test_edits_that_are_no_captions(client, change, why):
    status, answer = client.decide("edit", change)
    assert status in (400, 404)
    assert why in answer["error"]
    assert client.get("/api/start")["counts"]["reviewed"] == 0


@pytest.mark.parametrize("body", [None, [], {}, {"action": "edit", "changes": []}, {"action": "x"},
                                  {"action": "edit", "changes": [{"id": 1}]}])  # fmt: skip
def test_requests_that_make_no_sense(client, body):
    status, _, data = client.ask("POST", "/api/decide", body)
    assert status in (400, 413)
    assert json.loads(data)["error"]


def test_a_port_that_is_taken(dataset):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = type(OPTIONS)("default", (), "127.0.0.1", port, browser=False)
        why = rf"--port {port}: cannot listen there .*in use"
        with pytest.raises(UserError, match=why), running(dataset, options):
            pass


def test_an_address_of_another_machine(dataset):
    options = type(OPTIONS)("default", (), "192.0.2.1", 0, browser=False)
    with pytest.raises(UserError, match="--host 192"), running(dataset, options):
        pass


def test_all_addresses_are_known_where_a_host_is_given(dataset):
    options = type(OPTIONS)("default", (), "0.0.0.0", 0, browser=False)
    with running(dataset, options) as client:
        assert client.ask("GET", "/api/start", Host="10.1.2.3:80")[0] == 200
        assert client.ask("GET", "/api/start", Host="evil.example")[0] == 403
