"""A chunk that is read by its parts says what it says where it is decoded whole, to everybody."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api.wires import WIRES
from gateway.wire.assemble import Assembly
from gateway.wire.chunk import Chunk, decode
from gateway.wire.chunk_reader import ChunkReader
from gateway.wire.sse import EventSplitter, is_done
from tests.fakes.chunks import USAGE, chunk
from tests.fakes.mutations import nearly
from tests.fakes.recordings import streams
from tests.fakes.upstream import tokens

_chat = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"?"}]%s}'
ASKED = (
    ("/v1/chat/completions", _chat % b""),
    ("/v1/chat/completions", _chat % b',"stream_options":{"include_usage":true}'),
    ("/v1/chat/completions", _chat % b',"logprobs":true'),
    ("/v1/chat/completions", _chat % b',"logprobs":true,"top_logprobs":1'),
    ("/v1/chat/completions", _chat % b',"logprobs":true,"top_logprobs":5'),
    ("/v1/completions", b'{"model":"m","prompt":"?","logprobs":1,"stream":true}'),
    ("/v1/responses", b'{"model":"m","input":"?","stream":true}'),
    (
        "/v1/responses",
        (
            b'{"model":"m","input":"?","stream":true,"top_logprobs":3,'
            b'"include":["message.output_text.logprobs"]}'
        ),
    ),
    (
        "/v1/messages",
        b'{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"?"}]}',
    ),
)
# Ids and times that an answer is given here, which are others each time.
_DRAWN = re.compile(rb"[0-9a-f]{32}|(?<=created_at.:)[0-9]+")
Read = Callable[[bytes], Chunk]


def whole(payload: bytes) -> Chunk:
    return decode(payload)


def whole_without_evidence(payload: bytes) -> Chunk:
    return decode(payload, is_evidence_wanted=False)


def told(read: Read, payloads: Sequence[bytes]) -> list[Chunk]:
    """The chunks as far as they can be read."""
    found = []
    for payload in payloads:
        try:
            found.append(read(payload))
        except (ValueError, RecursionError):
            break
    return found


def sent(chunks: Sequence[Chunk]) -> list[bytes]:
    """What clients of all protocols get of an answer, by the chunk, and what is kept of it."""
    editors = [WIRES[path].read(body, None).editor() for path, body in ASKED]
    assembly, kept = Assembly(), Assembly(is_logprobs_kept=False)
    events = []
    for one in chunks:
        if one.error is not None:
            break
        if not one.is_foreign:
            events += [_DRAWN.sub(b"", editor.edit(one)) for editor in editors]
            assembly.add(one)
            kept.add(one)
    return [*events, assembly.body(), kept.body()]


def bare(chunks: Sequence[Chunk]) -> list[Chunk]:
    return [msgspec.structs.replace(one, stencil=None, cut=None) for one in chunks]


def check(payloads: Sequence[bytes]) -> Sequence[Chunk]:
    """Read them in both ways, with evidence and without; gives those with."""
    found: Sequence[Chunk] = ()
    for is_evidence_wanted, slowly in ((False, whole_without_evidence), (True, whole)):
        expected = told(slowly, payloads)
        found = told(ChunkReader(is_evidence_wanted=is_evidence_wanted).read, payloads)
        assert list(map(repr, bare(found))) == list(map(repr, expected))  # NaN is not equal to NaN
        assert sent(found) == sent(expected)
    return found


def by_parts(chunks: Sequence[Chunk]) -> int:
    return sum(one.stencil is not None for one in chunks)


def word(text: str, number: int = 1, **changes: Any) -> bytes:
    """A piece of text with its log-probabilities and the usage so far."""
    return chunk({"content": text}, tokens(text), usage={**USAGE, "completion_tokens": number})


WORDS = [
    chunk({"role": "assistant", "content": ""}, usage=USAGE),
    *(word(text, number) for number, text in enumerate(["Once", " upon", ' a "', "\n", " tïme"])),
]
PLAIN = [chunk({"content": text}) for text in ("Once", " upon", " a", "\\n", " time")]


@pytest.mark.parametrize(("request_body", "stream"), streams())
def test_a_recorded_stream_is_read_the_same_in_both_ways(
    request_body: dict[str, Any], stream: bytes
) -> None:
    payloads = [each for each in EventSplitter().feed(stream) if not is_done(each)]
    check(payloads)


@pytest.mark.parametrize(("request_body", "stream"), streams("stream_*"))
def test_most_of_a_recorded_stream_is_read_by_its_parts(
    request_body: dict[str, Any], stream: bytes
) -> None:
    payloads = [each for each in EventSplitter().feed(stream) if not is_done(each)]
    found = check(payloads)
    texts = [one for one in found if one.content and not one.finish_reason]
    assert by_parts(texts) >= len(texts) - 2


@pytest.mark.parametrize("payloads", [WORDS, PLAIN])
def test_after_the_first_words_all_are_read_by_their_parts(payloads: Sequence[bytes]) -> None:
    found = check(payloads)
    assert [one.stencil is not None for one in found[-4:]] == [True] * 4
    assert len({id(one.stencil) for one in found[-4:]}) == 1


@settings(max_examples=2 * settings().max_examples, suppress_health_check=list(HealthCheck))
@given(nearly(WORDS), nearly(PLAIN), st.sampled_from([WORDS, PLAIN]))
def test_a_chunk_that_is_nearly_like_the_others_is_read_the_same(
    odd: bytes, other: bytes, stream: Sequence[bytes]
) -> None:
    check([*stream[:3], odd, stream[3], other, stream[4], stream[4]])


ODD_TEXTS = (
    *(b'"a","x":"b"', b'"a","content":"b"', b'"a"}, "delta": {"content": "b"', b' "a" ', b"null"),
    *(b'"\\ud83d\\ude00"', b'"\\""', b'"\\u00e9"', b'"\xc3\xa9"', b'"\xff"', b'"\\ud800"', b"5"),
    *(b'""', b'"a\x00"', b'["a"]', b'"a"}, "logprobs": {"content": []}, "x": {"y": 1'),
)
ODD_LOGPROBS = (
    *(b"{}", b"null", b"[]", b'{"content": null}', b'{"content": []}', b'{"content": [5]}'),
    *(b'{"content": []}, "x": 1', b'{"content": []}, "logprobs": null', b'{"content": [\n]}'),
    b'{"content": "\xff"}',
    *(b'{"content": [{"token": "a", "logprob": -1e999}]}', b'{"content": [], "n": "\xff"}'),
    b'{"content": []}, "finish_reason": "stop", "y": {}',
)
ODD_USAGES = (
    *(b"{}", b"null", b"5", b'{"prompt_tokens": -1, "completion_tokens": 1}'),
    *(b'{"prompt_tokens": 1, "completion_tokens": 1}, "usage": null', b'{"prompt_tokens": 1}'),
    b'{"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}',
    b'{"prompt_tokens": 1, "completion_tokens": 1}, "error": {"message": "Gone."}',
)


@pytest.mark.parametrize("text", ODD_TEXTS)
@pytest.mark.parametrize("stream", [WORDS, PLAIN])
def test_whatever_stands_in_place_of_the_text(stream: Sequence[bytes], text: bytes) -> None:
    written = json.dumps(json.loads(stream[2])["choices"][0]["delta"]["content"]).encode()
    check(
        [
            *stream[:4],
            stream[2].replace(b'"content": ' + written, b'"content": ' + text, 1),
            *stream[4:],
        ]
    )


@pytest.mark.parametrize("logprobs", ODD_LOGPROBS)
def test_whatever_stands_in_place_of_log_probabilities(logprobs: bytes) -> None:
    before, _, rest = WORDS[2].partition(b'"logprobs": ')
    _, ending, after = rest.partition(b', "finish_reason"')
    check([*WORDS[:4], before + b'"logprobs": ' + logprobs + ending + after, *WORDS[4:]])


@pytest.mark.parametrize("usage", ODD_USAGES)
def test_whatever_stands_in_place_of_usage(usage: bytes) -> None:
    before, _, _ = WORDS[2].partition(b'"usage": ')
    check([*WORDS[:4], before + b'"usage": ' + usage + b"}", *WORDS[4:]])


def test_what_nests_too_deep_is_refused_however_it_is_read() -> None:
    before, _, rest = WORDS[2].partition(b'"logprobs": ')
    _, ending, after = rest.partition(b', "finish_reason"')
    found = set()
    for depth in range(600, 1000, 20):
        deep = b'{"content": [], "deep": ' + b"[" * depth + b"]" * depth + b"}"
        odd = before + b'"logprobs": ' + deep + ending + after
        is_read = len(told(ChunkReader(is_evidence_wanted=True).read, [*WORDS[:4], odd])) == 5
        assert is_read is bool(told(whole, [odd]))
        found.add(is_read)
    assert found == {True, False}


def test_a_server_that_pads_its_chunks_is_decoded_whole() -> None:
    padded = [chunk({"content": "a"}, obfuscation="x" * number) for number in range(1, 6)]
    assert by_parts(check(padded)) == 0


def test_a_server_that_goes_on_in_another_way_is_read_by_the_new_one() -> None:
    later = [chunk({"content": text}, created=1_795_454_777) for text in (" there", " was", " a")]
    found = check([*PLAIN, *later])
    assert by_parts(found[: len(PLAIN)]) == len(PLAIN) - 1
    assert by_parts(found[len(PLAIN) :]) == len(later) - 1


@pytest.mark.parametrize(
    "odd",
    [
        chunk({"content": "a", "reasoning": "Hm."}),
        chunk({"content": "a", "novelty": [1]}),
        chunk({"content": "a"}, choice={"token_ids": [1]}),
        chunk({"content": "a"}, choice={"finish_reason": "stop"}),
        chunk({"content": "a"}, timings={"cache_n": 1, "prompt_n": 2, "predicted_n": 3}),
        chunk({"content": ["a"]}),
    ],
)
def test_what_grows_beside_the_text_is_decoded_whole(odd: bytes) -> None:
    assert by_parts(check([odd, odd, odd])) == 0


def test_what_looks_like_a_part_and_is_none_is_not_taken_for_it() -> None:
    echoing = [
        chunk({"content": text}, choice={"echo": {"logprobs": told}, "logprobs": {"content": []}})
        for text, told in (("a", {"content": []}), ("b", {"content": tokens("b")}), ("c", {}))
    ]
    twice = chunk({"content": "a"}).replace(b'"content": "a"', b'"content": "a", "content": "a"')
    other = chunk({"content": "a"}).replace(b'"content": "a"', b'"content": "b", "content": "a"')
    assert by_parts(check([json_with_echo_first(each) for each in echoing])) == 0
    assert by_parts(check([twice, other, twice])) == 0


def json_with_echo_first(payload: bytes) -> bytes:
    """The same with the echo before the log-probabilities that count."""
    fields = json.loads(payload)
    (choice,) = fields["choices"]
    choice["logprobs"] = choice.pop("logprobs")
    return json.dumps(fields).encode()
