"""Images, documents and search results: what a chat has for them."""

from typing import TypeVar

import msgspec

from gateway.wire.messages.shape import NULL, missing, read, refused, unsupported

Part = dict[str, object]


class Block(msgspec.Struct):
    """One block of content; which fields it has depends on its type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    source: msgspec.Raw = NULL
    title: str | None = None
    context: str | None = None
    content: msgspec.Raw = NULL
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = NULL
    tool_use_id: str | None = None
    is_error: bool | None = None


class Source(msgspec.Struct):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: msgspec.Raw = NULL


_T = TypeVar("_T")

_content = msgspec.json.Decoder(str | list[msgspec.Raw])
_block = msgspec.json.Decoder(Block)
_source = msgspec.json.Decoder(Source)
_text = msgspec.json.Decoder(str)


def blocks_of(content: msgspec.Raw, path: str) -> list[tuple[str, Block]]:
    """The blocks of a content, each with its path; a plain string is one of text."""
    if content == NULL:
        raise missing(path)
    said = read(_content, content, path)
    if isinstance(said, str):
        return [(path, Block("text", text=said))]
    places = [f"{path}.{place}" for place in range(len(said))]
    return [(place, read(_block, raw, place)) for place, raw in zip(places, said, strict=True)]


def text_of(block: Block, path: str) -> str:
    """The words of a block of text."""
    if block.type != "text":
        raise unsupported(f"{path}.type", block.type)
    if block.text is None:
        raise missing(f"{path}.text")
    return block.text


def material_of(block: Block, path: str) -> Part | None:
    """The part of a chat that a user's words or a tool's result become; None for other blocks."""
    match block.type:
        case "text":
            return text_part(text_of(block, path))
        case "image":
            return _image_part(block, path)
        case "document":
            return text_part(_document(block, path))
        case "search_result":
            return text_part(_search_result(block, path))
        case _:
            return None


def text_part(text: str) -> Part:
    """A chat's part of text."""
    return {"type": "text", "text": text}


def _image_part(block: Block, path: str) -> Part:
    path = f"{path}.source"
    source = _source_of(block, path)
    if source.type == "url":
        url = _required(source.url, f"{path}.url")
    elif source.type == "base64":
        kind = _required(source.media_type, f"{path}.media_type")
        url = f"data:{kind};base64,{_required(source.data, f'{path}.data')}"
    else:
        raise unsupported(f"{path}.type", source.type)
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Block, path: str) -> str:
    """A document's words; none of the servers reads a file."""
    path = f"{path}.source"
    source = _source_of(block, path)
    if source.type == "text":
        text = _required(source.data, f"{path}.data")
    elif source.type == "content":
        text = _texts(source.content, f"{path}.content")
    else:
        raise refused(f"{path}.type", "A document can only be given as text.")
    return _lines(block.title, block.context, text)


def _search_result(block: Block, path: str) -> str:
    source = _required(None if block.source == NULL else block.source, f"{path}.source")
    found_at = read(_text, source, f"{path}.source")
    return _lines(block.title, found_at, _texts(block.content, f"{path}.content"))


def _texts(content: msgspec.Raw, path: str) -> str:
    return "\n".join(text_of(block, place) for place, block in blocks_of(content, path))


def _source_of(block: Block, path: str) -> Source:
    if block.source == NULL:
        raise missing(path)
    return read(_source, block.source, path)


def _lines(*lines: str | None) -> str:
    return "\n".join(line for line in lines if line)


def _required(value: _T | None, path: str) -> _T:
    if value is None:
        raise missing(path)
    return value
