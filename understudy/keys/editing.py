"""Adds an entry to the text of a keys file, or takes one out; all else stays as it was.

Where the entries are, the YAML parser says; whether the result says what it should, the caller
asks by reading it again.
"""

from collections.abc import Sequence
from typing import cast

import yaml

from gateway.key_entries import KeyEntry

_ONE_LINE = 10**9  # characters: a flow mapping is never broken


class NotEditable(Exception):
    """The file has another form than people write; the message says which."""


def with_entry(text: str, entry: KeyEntry) -> str:
    """The text with one entry more, behind the others."""
    keys = _keys_in(text)
    if keys is None:
        return f"{_ended(text)}keys:\n{_block(entry, 2)}"
    root, sequence = keys
    if not sequence.flow_style:
        return f"{_ended(text)}{_block(entry, sequence.start_mark.column)}"
    if sequence.value:
        end = sequence.value[-1].end_mark.index
        return f"{text[:end]}, {_flow(entry)}{text[end:]}"
    start, end = sequence.start_mark.index, sequence.end_mark.index
    if root.flow_style:
        return f"{text[:start]}[{_flow(entry)}]{text[end:]}"
    return f"{_ended(text[:start].rstrip(' ') + text[end:])}{_block(entry, 2)}"


def without_entry(text: str, name: str) -> str:
    """The text without the entry of that name; comments that stand above it stay."""
    keys = _keys_in(text)
    if keys is None:
        raise NotEditable("it has no keys")
    root, sequence = keys
    place = [_name_of(item) for item in sequence.value].index(name)
    if len(sequence.value) == 1:
        return _without_the_last(text, root, sequence)
    item = sequence.value[place]
    if not sequence.flow_style:
        start, end = _lines_of(text, sequence, item)
    elif place == 0:
        start, end = item.start_mark.index, sequence.value[1].start_mark.index
    else:
        start, end = sequence.value[place - 1].end_mark.index, item.end_mark.index
    return text[:start] + text[end:]


def _without_the_last(text: str, root: yaml.MappingNode, sequence: yaml.SequenceNode) -> str:
    """An empty list is written as one: ``keys:`` with nothing behind it says nothing."""
    if sequence.flow_style:
        start, end = sequence.start_mark.index, sequence.end_mark.index
        return f"{text[:start]}[]{text[end:]}"
    start, end = _lines_of(text, sequence, sequence.value[0])
    colon = text.index(":", root.value[0][0].end_mark.index) + 1
    return f"{text[:colon]} []{text[colon:start]}{text[end:]}"


def _keys_in(text: str) -> tuple[yaml.MappingNode, yaml.SequenceNode] | None:
    """The document and its list of keys; None where there is no document.  Raises NotEditable."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise NotEditable("it is no YAML") from None
    if root is None:
        return None
    if isinstance(root, yaml.MappingNode) and [key.value for key, _ in root.value] == ["keys"]:
        value = root.value[0][1]
        if isinstance(value, yaml.SequenceNode):
            return root, value
    raise NotEditable("it is no list of `keys`")


def _name_of(item: yaml.Node) -> str | None:
    pairs = cast("Sequence[tuple[yaml.Node, yaml.Node]]", getattr(item, "value", ()))
    return next((str(value.value) for key, value in pairs if key.value == "name"), None)


def _lines_of(text: str, sequence: yaml.SequenceNode, item: yaml.Node) -> tuple[int, int]:
    """From where to where the lines of an entry of a block go: its dash to its last word's line."""
    dash = text.rindex("-", 0, item.start_mark.index)
    start = text.rfind("\n", 0, dash) + 1
    end = text.find("\n", _end_of(item))
    return start, len(text) if end < 0 else end + 1


def _end_of(node: yaml.Node) -> int:
    """Behind its last word: the parser ends a block only where the next thing begins."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end_of(last[1] if isinstance(node, yaml.MappingNode) else last)
    # A text that begins with | or > ends behind its last line's end.
    is_block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    return int(node.end_mark.index) - is_block


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _block(entry: KeyEntry, indent: int) -> str:
    lines = []
    for name, value in entry.document().items():
        flow = yaml.safe_dump(value, default_flow_style=True, width=_ONE_LINE)
        lines.append(f"{name}: {flow.removesuffix(_END_OF_SCALAR).strip()}")
    pad = " " * indent
    return f"{pad}- " + f"\n{pad}  ".join(lines) + "\n"


_END_OF_SCALAR = "\n...\n"


def _flow(entry: KeyEntry) -> str:
    return yaml.safe_dump(
        entry.document(), default_flow_style=True, width=_ONE_LINE, sort_keys=False
    ).strip()
