import json
import logging

import pytest

from wanctl import credentials
from wanctl.log import EventLog, setup_logging
from wanctl.redact import public_uri, redact, redact_values

PASSWORD = "c0rrect-h0rse"

URIS = [
    # uri, what is stored
    (f"https://ann:{PASSWORD}@host/a.mp4", "https://host/a.mp4"),
    (f"https://ann:{PASSWORD}@host:8443/a/", "https://host:8443/a/"),
    (f"https:/ann:{PASSWORD}@host/a.mp4", "https:/host/a.mp4"),
    (f"ftp://{PASSWORD}@host/a.mp4", "ftp://host/a.mp4"),
    (f"https://ann:x@{PASSWORD}@host/a.mp4", "https://host/a.mp4"),
    (f"https://ann:x/{PASSWORD}@host/a.mp4", "https://host/a.mp4"),
    (f"https://ann:x#{PASSWORD}@host/a.mp4", "https://host/a.mp4"),
    (f"https://ann:x?{PASSWORD}@host/a.mp4", "https://host/a.mp4"),
    (f"s3://KEY:{PASSWORD}@bucket/a.mp4", "s3://bucket/a.mp4"),
    (f"simplecache::https://ann:{PASSWORD}@host/a.mp4", "simplecache::https://host/a.mp4"),
    (f"zip://a.mp4::https://ann:{PASSWORD}@host/b.zip", "zip://a.mp4::https://host/b.zip"),
    (f"https://ann:a::{PASSWORD}@host/a.mp4", "https://host/a.mp4"),
    (
        f"https://b.s3.amazonaws.com/a.mp4?X-Amz-Algorithm=AWS4&X-Amz-Credential={PASSWORD}"
        f"&X-Amz-Date=20260101T0000Z&X-Amz-Expires=60&X-Amz-Signature={PASSWORD}&versionId=7",
        "https://b.s3.amazonaws.com/a.mp4?versionId=7",
    ),
    (
        f"https://b.s3.amazonaws.com/a.mp4?AWSAccessKeyId=AKIA&Expires=1&Signature={PASSWORD}",
        "https://b.s3.amazonaws.com/a.mp4",
    ),
    (
        f"https://x.blob.core.windows.net/c/a.mp4?sv=2024&st=1&se=2&sr=b&sp=r&sig={PASSWORD}",
        "https://x.blob.core.windows.net/c/a.mp4",
    ),
    (f"https://storage/a.mp4?X-Goog-Signature={PASSWORD}", "https://storage/a.mp4"),
    (
        f"https://cdn/a.mp4?Policy=p&Signature={PASSWORD}&Key-Pair-Id=K",
        "https://cdn/a.mp4",
    ),
    (f"https://host/a.mp4?token={PASSWORD}&part=2", "https://host/a.mp4?part=2"),
    (f"https://host/a.mp4?part=2&ACCESS_TOKEN={PASSWORD}", "https://host/a.mp4?part=2"),
    (f"https://host/a.mp4?api%5Fkey={PASSWORD}", "https://host/a.mp4"),
    (f"https://host/a.mp4#access_token={PASSWORD}", "https://host/a.mp4"),
    ("https://host/f?key=AIzaSyA1234567890123456789012345678901", "https://host/f"),
]
UNCHANGED = [
    "/footage/a.mp4",
    "/footage/ann:x@b/a?token=1.mp4",
    "C:\\footage\\a.mp4",
    "https://host/a.mp4?v=1#t=5",
    "https://host/get?key=clip-7.mp4",
    "https://host/get?author=ann",
    "https://host/@ann/a.mp4",
    "s3://bucket/a#token.mp4",
    "abfs://container@account.dfs.core.windows.net/a.mp4",
    "github://org:repo@main/a.mp4",
    "hf://datasets/ann/b@main/a.mp4",
    "file:///footage/a.mp4?token=1",
    "",
]


@pytest.fixture(autouse=True)
def _empty_tables(monkeypatch):
    monkeypatch.setattr(credentials, "_table", {})
    monkeypatch.setattr("wanctl.redact._known", set())


@pytest.mark.parametrize(("uri", "stored"), URIS)
def test_a_uri_is_stored_without_its_credentials(uri, stored):
    assert public_uri(uri) == stored
    assert public_uri(stored) == stored


@pytest.mark.parametrize("uri", UNCHANGED)
def test_other_uris_are_stored_as_they_are(uri):
    assert public_uri(uri) == uri
    assert credentials.remember(uri) == uri
    assert credentials.with_credentials(uri) == uri


@pytest.mark.parametrize("uri", [uri for uri, _ in URIS])
def test_a_message_shows_no_credentials_of_a_url(uri):
    for text in (
        f"{uri}: cannot be read: 403, url={uri!r}",
        json.dumps({"source": uri}),
        f'<a href="{uri.replace("&", "&amp;")}">',
    ):
        assert PASSWORD not in redact(text)
        assert "AIzaSyA" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {PASSWORD}",
        f"Authorization: Basic {PASSWORD}==",
        f"{{'authorization': '{PASSWORD}'}}",
        f'{{"x-api-key": "{PASSWORD}"}}',
        f"OPENAI_API_KEY={PASSWORD}",
        f"aws_secret_access_key = {PASSWORD}",
        f"password: {PASSWORD}, retrying",
        "Incorrect API key provided: sk-proj-c0rrect-h0rse-battery.",
        "401 for token hf_c0rrecth0rsec0rrecth0rse",
        "jwt eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c0rrect-h0rse",
    ],
)
def test_headers_keys_and_tokens_are_masked(text):
    assert "h0rse" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "64 tokens, 12 frames/s at 480x832",
        "/footage/a@b/c.mp4: the file is truncated (12 of 40 MB)",
        "train-dit: step 10 done, loss 0.1: see https://host/docs?page=2#top",
        "mail ann@example.org",
        "author: Ann; tokenizer: umt5; basic colours",
    ],
)
def test_other_texts_stay_as_they_are(text):
    assert redact(text) == text


def test_secrets_of_the_environment_are_masked_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("CAPTIONER_API_KEY", "plain-words-1")
    assert redact("server says: plain-words-1 is not known") == "server says: *** is not known"


def test_a_stored_uri_is_opened_with_the_credentials_of_this_run():
    credentials.remember("https://ann:p%40ss@host/footage/")
    credentials.remember("https://x.blob.core.windows.net/c/sub?sv=2024&sig=a%2Fb")
    credentials.remember("https://cdn/a.mp4?Signature=first&part=2")
    credentials.remember("https://cdn/a.mp4?Signature=second&part=3")
    opened = credentials.with_credentials
    assert opened("https://host/footage/a.mp4") == "https://ann:p%40ss@host/footage/a.mp4"
    assert opened("https:/host/footage/a.mp4") == "https://ann:p%40ss@host/footage/a.mp4"
    assert opened("https://host/other/a.mp4") == "https://ann:p%40ss@host/other/a.mp4"
    assert opened("https://other/footage/a.mp4") == "https://other/footage/a.mp4"
    blob = "https://x.blob.core.windows.net/c/sub/a.mp4"
    assert opened(blob) == f"{blob}?sv=2024&sig=a%2Fb"
    assert opened("https://x.blob.core.windows.net/d/a.mp4").endswith("/d/a.mp4")
    assert opened("https://cdn/a.mp4?part=3") == "https://cdn/a.mp4?part=3&Signature=second"
    assert opened("zip://a.mp4::https://host/b.zip") == "zip://a.mp4::https://ann:p%40ss@host/b.zip"
    assert redact("they said p@ss or p%40ss") == "they said *** or ***"


def test_the_environment_gives_credentials_to_commands_that_name_no_footage(monkeypatch):
    monkeypatch.setenv("WANCTL_SOURCES", "https://ann:pass1@host/a  https://bob:pass2@other/")
    assert credentials.with_credentials("https://host/a/b.mp4") == "https://ann:pass1@host/a/b.mp4"
    assert credentials.with_credentials("https://other/b") == "https://bob:pass2@other/b"
    assert set(credentials.snapshot()) == {"https://host/a", "https://other"}


def test_values_under_secret_keys_are_masked():
    values = {
        "api_key": "abc",
        "headers": {"Authorization": "x", "Accept": "video/mp4"},
        "credentials": {"user": "ann", "pw": ["b"]},
        "image": f"https://ann:{PASSWORD}@host/a.png",
        "token": None,
        "max_tokens": 5,
    }
    assert redact_values(values) == {
        "api_key": "***",
        "headers": {"Authorization": "***", "Accept": "video/mp4"},
        "credentials": {"user": "***", "pw": ["***"]},
        "image": "https://host/a.png",
        "token": None,
        "max_tokens": 5,
    }


def test_logs_hold_no_credentials(tmp_path, capsys):
    uri = f"https://ann:{PASSWORD}@host/a.mp4?sig={PASSWORD}"
    events = EventLog(tmp_path / "log.jsonl")
    events.write("quarantine", source=uri, error=f"{uri}: not readable", files=[{"uri": uri}])
    text = (tmp_path / "log.jsonl").read_text()
    assert PASSWORD not in text
    assert json.loads(text)["source"] == "https://host/a.mp4"
    logger = logging.getLogger("wanctl")
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        setup_logging()
        try:
            raise ValueError(uri)
        except ValueError:
            logger.exception("%s: cannot be read", uri)
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
    printed = "".join(capsys.readouterr())
    assert PASSWORD not in printed.replace("\n", "")
