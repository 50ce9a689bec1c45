import json
from typing import Any

import msgspec
import pytest

from gateway.errors import RequestError
from gateway.wire.messages.sources import blocks_of, material_of


def part(block: dict[str, Any]) -> Any:
    ((path, read),) = blocks_of(msgspec.Raw(json.dumps([block]).encode()), "here")
    return material_of(read, path)


def document(**source: Any) -> dict[str, Any]:
    return {"type": "document", "source": source}


PLAIN = document(type="text", media_type="text/plain", data="Paris is in France.")
BLOCKS = document(type="content", content=[{"type": "text", "text": text} for text in "ab"])
FOUND = {
    "type": "search_result",
    "source": "https://example.org/paris",
    "title": "Paris",
    "content": [{"type": "text", "text": "Paris is in France."}],
}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (PLAIN, "Paris is in France."),
        (PLAIN | {"title": "Atlas", "context": "page 3"}, "Atlas\npage 3\nParis is in France."),
        (BLOCKS, "a\nb"),
        (document(type="content", content="a"), "a"),
        (FOUND, "Paris\nhttps://example.org/paris\nParis is in France."),
    ],
)
def test_a_document_of_words_is_its_words(block: dict[str, Any], words: str) -> None:
    assert part(block) == {"type": "text", "text": words}


def test_a_block_that_shows_nothing_is_no_part() -> None:
    assert part({"type": "tool_use"}) is None


@pytest.mark.parametrize(
    ("block", "path"),
    [
        (document(type="base64", media_type="application/pdf", data="x"), "here.0.source.type"),
        (document(type="url", url="https://example.org/a.pdf"), "here.0.source.type"),
        (document(type="file", file_id="f"), "here.0.source.type"),
        (document(type="text"), "here.0.source.data"),
        (document(type="content"), "here.0.source.content"),
        ({"type": "document"}, "here.0.source"),
        ({"type": "image"}, "here.0.source"),
        ({"type": "image", "source": "x"}, "here.0.source"),
        ({"type": "image", "source": {"type": "url"}}, "here.0.source.url"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "here.0.source.type"),
        ({"type": "image", "source": {"type": "base64", "data": "x"}}, "here.0.source.media_type"),
        (FOUND | {"source": None}, "here.0.source"),
        (FOUND | {"source": 5}, "here.0.source"),
        (FOUND | {"content": None}, "here.0.content"),
    ],
)
def test_what_nobody_can_read_is_refused(block: dict[str, Any], path: str) -> None:
    with pytest.raises(RequestError) as caught:
        part(block)
    assert caught.value.param == path
