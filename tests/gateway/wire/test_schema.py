import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.wire import schema as limits
from gateway.wire.schema import Schema, SchemaCache, compile_schema


def compiled(schema: Any) -> Schema | None:
    return compile_schema(json.dumps(schema).encode())


def refutes(schema: Any, value: Any, *, checks: int = 1) -> bool:
    made = compiled(schema)
    assert made is not None
    return made.refutes(value, json.dumps(value), checks=checks)


def doubling(keyword: str, levels: int) -> dict[str, Any]:
    """Few bytes that say 2**levels things when its references are written out."""
    definitions: dict[str, Any] = {
        f"d{level}": {keyword: [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    definitions[f"d{levels}"] = {"type": "object"}
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


def nested(levels: int, key: str = "a", leaf: Any = 1) -> Any:
    value = leaf
    for _ in range(levels):
        value = {key: value}
    return value


@pytest.fixture
def visitors() -> Iterator[tuple[str, list[str]]]:
    """The address of a server with a schema that takes everything, and who asked it."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


def test_no_schema_makes_the_gateway_fetch_anything(
    visitors: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, paths = visitors
    file = tmp_path / "schema.json"
    file.write_text("{}")
    schemas: list[dict[str, Any]] = [
        {"$ref": f"{url}/a"},
        {"$id": f"{url}/b", "$ref": "c"},
        {"$id": f"{url}/b", "properties": {"a": {"$ref": "c#/$defs/x"}}},
        {"$schema": f"{url}/d"},
        {"$dynamicRef": f"{url}/e"},
        {"allOf": [{"$id": f"{url}/f/", "properties": {"a": {"$ref": "#/x"}}}]},
        {"$ref": file.as_uri()},
        {"$ref": str(file)},
        {"$ref": "//127.0.0.1/a"},
    ]
    for schema in schemas:
        assert compiled(schema) is None, schema
    assert paths == []


UNUSABLE: tuple[Any, ...] = (
    {"type": "strnig"},
    {"type": 5},
    {"properties": []},
    {"minLength": -1},
    {"multipleOf": 0},
    {"$schema": "http://json-schema.org/draft-03/schema#"},
    {"$schema": 5},
    {"$ref": "#/nowhere"},
    {"$ref": "#/allOf/2", "allOf": [{}]},
    {"$ref": "#/allOf/x", "allOf": [{}]},
    {"$ref": "#/title/x", "title": "a scalar"},
    {"$ref": "#/$defs/a%2Fb", "$defs": {"a": {"b": {}}, "a/b": {}}},
    {"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}},
    {"$recursiveRef": "#"},
    {"unevaluatedProperties": False},
    {"properties": {"a": {"unevaluatedItems": False}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$id": "http://x/"}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$schema": "x"}}},
    {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "allOf": [{"id": "http://x/", "properties": {"a": {"$ref": "#"}}}],
    },
    {"pattern": "("},
    {"pattern": r"(a)\1"},
    {"pattern": "(?=a)b"},
    {"pattern": "((a{1000}){1000}){1000}"},
    {"patternProperties": {"((a{1000}){1000}){1000}": {}}},
)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"5",
        b'"{}"',
        b"[]",
        b"\xff",
        b'{"maximum": 1e400}',
        b'{"maximum": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        *(json.dumps(schema).encode() for schema in UNUSABLE),
    ],
)
def test_what_cannot_be_checked_is_unusable(raw: bytes) -> None:
    assert compile_schema(raw) is None


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (True, 5, None),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}, 5, "x"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"}, 5, "x"),
        ({"$id": "http://x/y", "$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}, None, 5),
        ({"$ref": "#/$defs/a~1~0b", "$defs": {"a/~b": {"type": "null"}}}, None, 5),
        ({"$ref": "#/$defs/a%3Cb%3E", "$defs": {"a<b>": {"type": "null"}}}, None, 5),
        ({"allOf": [{"type": "null"}], "properties": {"a": {"$ref": "#/allOf/0"}}}, None, 5),
        ({"properties": {"id": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"default": {"id": "x"}}}},
         {}, None),
        ({"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}},
         {"$ref": "x"}, {"$ref": 5}),
        ({"patternProperties": {"^x-": {"type": "string"}}}, {"x-a": "b"}, {"x-a": 5}),
        ({"enum": [{"a": [1.0]}]}, {"a": [1]}, {"a": [2]}),
    ],
)  # fmt: skip
def test_a_usable_schema_tells_good_from_bad(schema: Any, good: Any, bad: Any) -> None:
    assert not refutes(schema, good)
    assert bad is None or refutes(schema, bad)


def test_the_last_of_duplicate_keys_counts() -> None:
    schema = compile_schema(b'{"type": "string", "type": "integer"}')
    assert schema
    assert not schema.refutes(5, "5", checks=1)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    ],
)
def test_a_schema_that_only_says_itself_takes_everything(schema: Any) -> None:
    assert not refutes(schema, {"a": 1})


def test_a_recursive_schema_reaches_down_to_the_depth_that_is_checked() -> None:
    tree = {"properties": {"a": {"$ref": "#"}}, "type": ["object", "integer"]}
    assert not refutes(tree, nested(5))
    assert refutes(tree, nested(5, leaf="x"))
    assert refutes(tree, nested(limits.MAX_DEPTH, leaf="x"))
    assert not refutes(tree, nested(limits.MAX_DEPTH + 1, leaf="x"))
    assert not refutes(tree, [nested(limits.MAX_DEPTH, leaf="x")])
    flat = {"required": ["z"]}
    assert refutes(flat, nested(800))


def test_a_deep_value_and_a_deep_schema_do_not_multiply() -> None:
    schema: dict[str, Any] = {"properties": {"a": {"$ref": "#"}}, "minProperties": 0}
    for _ in range(28):
        schema = {"oneOf": [{"type": "string"}, schema], "minProperties": 0}
    found = []
    # So small a stack overflows where both are followed to their ends, and ends the tests with it.
    before = threading.stack_size(2 * 1024 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.append(refutes(schema, nested(890))))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert found == [False]


def test_a_branching_recursive_schema_takes_no_more_than_its_share() -> None:
    down = {"properties": {"a": {"$ref": "#"}}}
    started = time.process_time()
    assert not refutes({"allOf": [down, down]}, nested(limits.MAX_DEPTH))
    assert refutes({"anyOf": [down | {"required": [n]} for n in "bc"]}, nested(limits.MAX_DEPTH))
    assert time.process_time() - started < 1


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_references_count_as_often_as_they_are_followed(keyword: str) -> None:
    small, twice = compiled(doubling(keyword, 8)), compiled(doubling(keyword, 9))
    assert small
    assert twice
    assert 1.8 < twice.size / small.size < 2.2
    started = time.process_time()
    assert compiled(doubling(keyword, 60)) is None
    assert time.process_time() - started < 1


def test_a_schema_has_at_most_so_many_bytes() -> None:
    def of_length(length: int) -> bytes:
        return b'{"type": "string", "title": "%s"}' % (b"x" * (length - 31))

    raw = of_length(limits.MAX_SCHEMA_BYTES)
    assert len(raw) == limits.MAX_SCHEMA_BYTES
    assert compile_schema(raw)
    assert compile_schema(of_length(limits.MAX_SCHEMA_BYTES + 1)) is None


def test_a_schema_has_at_most_so_many_values() -> None:
    schema = compiled({"enum": [0] * (limits.MAX_SIZE - 2)})
    assert schema
    assert schema.size == limits.MAX_SIZE
    assert compiled({"enum": [0] * (limits.MAX_SIZE - 1)}) is None


def test_a_schema_has_at_most_so_many_levels() -> None:
    assert compiled(nested(limits.MAX_DEPTH - 1, "not", leaf={}))
    assert compiled(nested(limits.MAX_DEPTH, "not", leaf={})) is None
    chain = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(2 * limits.MAX_DEPTH)}
    assert compiled({"$defs": chain | {f"d{2 * limits.MAX_DEPTH}": {}}}) is None


def test_a_check_is_made_up_to_its_price() -> None:
    schema = compiled({"required": ["z"]})
    assert schema
    characters = limits.MAX_WORK // schema.size
    assert schema.refutes({}, " " * characters, checks=1)
    assert not schema.refutes({}, " " * (characters + 1), checks=1)
    assert schema.refutes({}, " " * (characters // 2), checks=2)
    assert not schema.refutes({}, " " * (characters // 2 + 1), checks=2)


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("^a+$", limits.MIN_PATTERN_SIZE),
        ("a{0,0}" * 6, 36),
        ("a{9}", 36),
        ("(a{2}){3,5}", 330),
        ("a{999999}", limits.MAX_PATTERN_SIZE),
        ("ab" * limits.MAX_PATTERN_SIZE, limits.MAX_PATTERN_SIZE),
    ],
)
def test_a_pattern_counts_for_what_it_repeats(pattern: str, size: int) -> None:
    empty = compiled({"title": "x"})
    assert empty
    for schema in ({"pattern": pattern}, {"patternProperties": {pattern: True}}):
        made = compiled(schema)
        if "999999" in pattern:
            assert made is None
        else:
            assert made
            assert made.size - empty.size - ("patternProperties" in schema) == size


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "^(a|aa)+$", "([a-zA-Z]+)*$9", "(.*a){20}"])
def test_patterns_match_in_linear_time(pattern: str) -> None:
    started = time.process_time()
    refutes({"pattern": pattern}, "xa" * 5_000)
    assert time.process_time() - started < 2


def numbered(number: int, values: int = 1) -> bytes:
    return json.dumps({"title": str(number), "enum": [0] * values}).encode()


def test_a_schema_is_compiled_once() -> None:
    cache = SchemaCache()
    assert cache.find(b'{"type": "string"}') is cache.find(bytes(bytearray(b'{"type": "string"}')))
    assert cache.find(b'{"type": 5}') is None
    assert len(cache) == 2
    assert cache.find(b" " * (limits.MAX_SCHEMA_BYTES + 1)) is None
    assert len(cache) == 2


def test_a_schema_that_two_threads_compile_at_once_is_held_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = SchemaCache()

    def overtaken(raw: bytes) -> Schema | None:
        monkeypatch.undo()
        cache.find(raw)
        return compile_schema(raw)

    monkeypatch.setattr(limits, "compile_schema", overtaken)
    cache.find(numbered(0))
    alone = SchemaCache()
    alone.find(numbered(0))
    assert (len(cache), cache.held_bytes) == (1, alone.held_bytes)


def test_the_least_recently_used_schema_makes_room() -> None:
    cache = SchemaCache()
    first = cache.find(numbered(0))
    second = cache.find(numbered(1))
    for number in range(2, limits.MAX_CACHED_SCHEMAS):
        cache.find(numbered(number))
    assert cache.find(numbered(0)) is first
    cache.find(numbered(limits.MAX_CACHED_SCHEMAS))
    assert len(cache) == limits.MAX_CACHED_SCHEMAS
    assert cache.find(numbered(0)) is first
    assert cache.find(numbered(1)) is not second


def test_large_schemas_make_room_by_their_bytes() -> None:
    cache = SchemaCache()
    for number in range(20):
        assert cache.find(numbered(number, values=limits.MAX_SIZE - 10))
        assert cache.held_bytes <= limits.MAX_CACHED_BYTES
    assert 1 < len(cache) < 20
    assert cache.held_bytes > limits.MAX_CACHED_BYTES // 2
