import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RequestError
from gateway.wire.passing import PATHS, PassedRoute, read_passed, read_reply
from routing.money import Usage


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (b'{"prompt_tokens":6,"total_tokens":6,"completion_tokens":0}', Usage(6, 0)),
        (b'{"prompt_tokens":6,"prompt_tokens_details":null}', Usage(6, 0)),
        (b'{"prompt_tokens":6,"prompt_tokens_details":{"cached_tokens":2}}', Usage(6, 0, 2)),
        (b'{"prompt_tokens":6,"completion_tokens":3,"total_tokens":9}', Usage(6, 3)),
        (b'{"total_tokens":6}', Usage(6, 0)),
        (b'{"prompt_tokens":0}', Usage(0, 0)),
        (b"{}", None),
        (b"null", None),
        (b'{"prompt_tokens":"6"}', None),
        (b'{"prompt_tokens":-6}', None),
        (b'{"prompt_tokens":99999999999999}', None),
        (b'{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}', None),
    ],
)
def test_what_a_reply_says_of_its_tokens_is_believed_where_it_makes_sense(
    usage: bytes, found: Usage | None
) -> None:
    assert read_reply(b'{"usage":' + usage + b"}").usage == found


def test_only_a_reply_that_names_a_model_gets_the_clients_name() -> None:
    body = b'{"id":"a","model":"theirs","data":[1.50, {"model":"x"}]}'
    assert read_reply(body).body_for("ours") == (
        b'{"id":"a","model":"ours","data":[1.50, {"model":"x"}]}'
    )
    assert read_reply(b'{"count":1}').body_for("ours") == b'{"count":1}'


@pytest.mark.parametrize("body", [b"", b"[]", b"text", b'{"a":', b'{"a":"\xff"}', b"[" * 5000])
def test_what_is_no_object_is_no_reply(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_reply(body)


def test_a_request_passes_byte_for_byte_but_for_its_model() -> None:
    body = b'{"input": [1.50, "\\u00e4"], "model": "ours", "x": {"model": "ours"}}'
    assert read_passed(body).body_for("theirs") == (
        b'{"input":[1.50, "\\u00e4"],"model":"theirs","x":{"model": "ours"}}'
    )


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda junk: b'{"model":"a",' + junk))
def test_junk_is_refused_in_words(junk: bytes) -> None:
    try:
        read_passed(junk)
    except RequestError as error:
        assert error.message  # noqa: PT017  # junk may be a request, by chance


def test_only_tokenizers_are_free_and_every_path_is_one_of_ours() -> None:
    assert {route for route in PassedRoute if route.is_free} == {
        PassedRoute.TOKENIZE,
        PassedRoute.DETOKENIZE,
    }
    assert set(PATHS.values()) == set(PassedRoute)
    assert all(path.endswith(f"/{route}") for path, route in PATHS.items())
