import pytest

from wanctl.caption.checks.quotes import unread


@pytest.mark.parametrize(
    ("text", "strings", "is_missing"),
    [
        ("GRAND OPENING", ["Grand Opening"], False),
        ("GRAND 0PENlNG", ["GRAND OPENING"], False),  # OCR misread two letters
        ("OPENING", ["GRAND OPENING TODAY"], False),
        ("GRAND OPENING", ["Closed"], True),
        ("GRAND OPENING", [], True),
        ("折扣", ["全场折扣"], False),
        ("折扣", ["停车场"], True),
        ("lI1", [], False),  # a fragment
    ],
)
def test_words_that_ocr_read_have_to_be_there_and_fragments_have_not(text, strings, is_missing):
    assert unread([text], strings) == ([text] if is_missing else [])
