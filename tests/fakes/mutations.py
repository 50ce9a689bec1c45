"""Bodies that are nearly what they should be: those of servers and clients, broken somewhere."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from gateway.openapi import examples
from tests.fakes.any_server import OTHERS
from tests.fakes.recordings import RECORDINGS
from tests.fakes.script import tool_call
from tests.fakes.texts import choice_of, text_reply, text_stream
from tests.fakes.upstream import completion, tokens

MOST_BYTES = 20_000  # of a seed: larger ones say the same more often
# What parsers trip over, in JSON and in the framing of events.
MORSELS = (
    *(b"null", b"true", b"0", b"-1", b"1e999", b"-0.0", b"9" * 400, b"1.0", b'""', b"[]", b"{}"),
    *(b'"\\ud800"', b"\\u0000", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b'"', b"\\", b"}", b"]"),
    *(b"{", b"[" * 200, b'{"a":' * 200, b",", b":", b"\n", b"\r\n", b"\n\n", b"data:", b"data: "),
    *(b"[DONE]", b"data: [DONE]\n\n", b": ping\n\n", b"event: error\n", b"NaN", b"Infinity"),
)
_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.none(), max_size=1),  # each its own: what stands inside is changed in place
    st.lists(st.builds(list), max_size=1),
    st.builds(dict),
)


def requests() -> list[bytes]:
    """What clients ask, on all routes."""
    documented = [
        value
        for group in vars(examples).values()
        if isinstance(group, Mapping)
        for value in group.values()
        if isinstance(value, Mapping)
    ]
    recorded = [
        json.loads(path.read_bytes())["request"].get("body")
        for path in sorted(RECORDINGS.glob("*/*.meta.json"))
    ]
    return _fitting([*documented, *(each for each in recorded if isinstance(each, dict))])


def replies() -> list[bytes]:
    """What servers answer at once."""
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    made = [
        completion(),
        completion(None, message={"tool_calls": [called]}),
        completion("Paris", message={"reasoning": "Hm.", "reasoning_content": "Hm."}),
        completion(choice={"logprobs": {"content": tokens("a"), "refusal": tokens("b")}}),
        text_reply(choice_of("a", " b"), choice_of("c", index=1)),
        *OTHERS.values(),
    ]
    return _fitting(made) + [each for each in _recorded() if not _is_stream(each)]


def streams() -> list[bytes]:
    """What servers answer bit by bit."""
    calls = [step.payload for step in tool_call("f", ['{"a"', ": 1}"]) if hasattr(step, "payload")]
    framed = b"".join(b"data: " + payload + b"\n\n" for payload in calls)
    made = [text_stream("a", " time."), framed + b"data: [DONE]\n\n"]
    return made + [each for each in _recorded() if _is_stream(each)]


def nearly(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds, changed in a few places."""
    seed = st.sampled_from(seeds)
    place = st.floats(0, 1)
    edit = st.tuples(st.sampled_from(_EDITS), place, st.sampled_from(MORSELS), seed)
    broken = st.builds(_edited, seed, st.lists(edit, max_size=5))
    changed = st.builds(_changed, seed, st.lists(st.tuples(place, _odd), min_size=1, max_size=3))
    return st.one_of(broken, changed)


def invented(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Objects of the names and values that the seeds have, in any order and depth."""
    names, leaves = _words(seeds)
    leaf = st.one_of(_odd, st.sampled_from(leaves))
    whole = st.dictionaries(
        st.sampled_from(names),
        st.recursive(
            leaf,
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(st.sampled_from(names), inner, max_size=4),
            ),
            max_leaves=12,
        ),
        max_size=8,
    )
    return whole.map(_encoded)


def pieces(data: bytes, cuts: Sequence[float]) -> list[bytes]:
    """The same bytes, cut in these places."""
    places = sorted({int(cut * len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def _put_in(data: bytes, at: int, morsel: bytes, _: bytes) -> bytes:
    return data[:at] + morsel + data[at:]


def _put_over(data: bytes, at: int, morsel: bytes, _: bytes) -> bytes:
    return data[:at] + morsel + data[at + len(morsel) :]


def _left_out(data: bytes, at: int, morsel: bytes, _: bytes) -> bytes:
    return data[:at] + data[at + len(morsel) :]


def _cut_off(data: bytes, at: int, _: bytes, __: bytes) -> bytes:
    return data[:at]


def _spliced(data: bytes, at: int, _: bytes, other: bytes) -> bytes:
    return data[:at] + other[at:]


def _flipped(data: bytes, at: int, morsel: bytes, _: bytes) -> bytes:
    return (
        data[:at]
        + bytes(byte ^ (1 << len(morsel) % 8) for byte in data[at : at + 1])
        + (data[at + 1 :])
    )


_EDITS: tuple[Callable[[bytes, int, bytes, bytes], bytes], ...] = (
    _put_in,
    _put_over,
    _left_out,
    _cut_off,
    _spliced,
    _flipped,
)


def _edited(seed: bytes, edits: Sequence[tuple[Any, float, bytes, bytes]]) -> bytes:
    for edit, place, morsel, other in edits:
        seed = edit(seed, int(place * len(seed)), morsel, other)
    return seed


def _changed(seed: bytes, changes: Sequence[tuple[float, Any]]) -> bytes:
    """A seed whose values are others somewhere; each of the events of a stream is a value too."""
    if _is_stream(seed):
        events = seed.split(b"\n\n")
        number = int(changes[0][0] * (len(events) - 1))
        head, _, payload = events[number].rpartition(b"data: ")
        events[number] = head + b"data: " + _changed(payload, changes[1:] or changes)
        return b"\n\n".join(events)
    try:
        value = json.loads(seed)
    except ValueError:
        return seed
    for place, odd in changes:
        spots = list(_spots(value))
        if spots:
            inside, key = spots[int(place * (len(spots) - 1))]
            inside[key] = odd
    return _encoded(value)


def _spots(value: Any) -> Any:
    """Every place inside a value where another could stand."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(entries) if isinstance(value, dict | list) else []:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _spots(inner)


def _words(seeds: Sequence[bytes]) -> tuple[list[str], list[Any]]:
    names: dict[str, None] = {"understudy": None, "chat_template": None, "error": None}
    leaves: dict[str, Any] = {}
    for seed in seeds:
        for payload in seed.split(b"data: ") if _is_stream(seed) else [seed]:
            try:
                value = json.loads(payload)
            except ValueError:
                continue
            for inside, key in _spots(value):
                if isinstance(key, str):
                    names[key] = None
                if not isinstance(inside[key], dict | list):
                    leaves[repr(inside[key])[:40]] = inside[key]
    return list(names), list(leaves.values())


def _is_stream(body: bytes) -> bool:
    return body.lstrip().startswith((b"data:", b"event:", b":"))


def _recorded() -> list[bytes]:
    found = []
    for meta in sorted(RECORDINGS.glob("*/*.meta.json")):
        stem = meta.name.removesuffix(".meta.json")
        beside = sorted(path for path in meta.parent.glob(f"{stem}.*") if path.is_file())
        found += [path.read_bytes()[:MOST_BYTES] for path in beside if path != meta]
    return found


def _fitting(values: Sequence[Any]) -> list[bytes]:
    return [body for body in map(_encoded, values) if len(body) <= MOST_BYTES]


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()
