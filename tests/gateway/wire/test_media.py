import json
import time
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MediaNotAllowed
from gateway.wire.admission import Admission
from gateway.wire.chat import parse_chat
from gateway.wire.media import MediaRules, refuse_media, refuse_urls

RULES = MediaRules(hosts=frozenset({"images.example.com", "*.cdn.example", "10.1.2.3:8443"}))
HTTP = MediaRules(frozenset({"http"}), RULES.hosts)

ALLOWED = [
    "data:image/png;base64,AA==",
    "DATA:image/png;base64,AA==",
    "https://images.example.com",
    "https://images.example.com/a.png?b=c@d#e",
    "HTTPS://Images.Example.COM/a.png",
    "https://images.example.com:443/a.png",
    "https://a.cdn.example/x",
    "https://a.b.cdn.example/x",
    "https://10.1.2.3:8443/x",
]
REFUSED = [
    "",
    "data:",
    " data:,",
    "http://images.example.com/a.png",
    "https://images.example.com:8443/a.png",
    "https://images.example.com.evil.example/a.png",
    "https://evil.example/images.example.com",
    "https://cdn.example/x",
    "https://evilcdn.example/x",
    "https://10.1.2.3/x",
    "https://10.1.2.3:443/x",
    "https://images.example.com@evil.example/",
    "https://user:word@images.example.com/",
    "https://evil.example\\@images.example.com/",
    "https://images.example.com\\@evil.example/",
    "https:\\\\images.example.com/",
    "https:/images.example.com/",
    "https:images.example.com",
    "https:///images.example.com/",
    "//images.example.com/a.png",
    "https://images.example.com./a.png",
    "https://images.example.com?x@evil.example",
    "https://images.example.com#@evil.example/",
    "https://images.example.com%2eevil.example/",
    "https://images\u3002example.com/",
    "https://images.example\uff0ecom/",
    "https://images.example.com/\u00e4",
    "https://ima\u200bges.example.com/",
    "http\u017f://images.example.com/",
    "https://\u017f.cdn.example/x",
    "https://\u212a.cdn.example/x",
    "https://images.example.com/a b",
    "https://images.example.com/a\nb",
    "https://images.example.com\t/a",
    " https://images.example.com/",
    "https://[::1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "/etc/passwd",
    "C:\\secret.png",
    "ftp://images.example.com/",
    "gopher://images.example.com/",
    "AA==",
]


@pytest.mark.parametrize("url", ALLOWED)
def test_files_of_allowed_hosts_pass(url: str) -> None:
    assert RULES.allows(url)
    assert not MediaRules(frozenset(), RULES.hosts).allows(url)


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_file_of_an_allowed_host_does_not_pass(url: str) -> None:
    assert not RULES.allows(url)


def test_without_hosts_only_data_passes() -> None:
    assert [url for url in ALLOWED if MediaRules().allows(url)] == ALLOWED[:2]


def test_plain_http_passes_only_where_the_operator_says_so() -> None:
    assert HTTP.allows("http://images.example.com:80/a.png")
    assert not HTTP.allows("http://images.example.com:443/a.png")
    assert not HTTP.allows("https://images.example.com/a.png")
    assert not HTTP.allows("data:,a")


PIECES = st.sampled_from([
    "https", "http", "HTTPS", "file", "data", ":", "/", "//", "\\", "@", "?", "#", ".", "%2e", "[",
    "]", "images.example.com", "a.cdn.example", "cdn.example", "evil.example", "127.0.0.1", ":443",
    ":8443", " ", "\n", "\u3002", "\u212a", "\u017f", "*", "x",
])  # fmt: skip
JUNK = st.lists(PIECES, max_size=6)


@given(JUNK | JUNK.map(lambda rest: ["https://", *rest]))
def test_another_parser_finds_an_allowed_host_in_whatever_passes(pieces: list[str]) -> None:
    url = "".join(pieces)
    if not RULES.allows(url) or url.lower().startswith("data:"):
        return
    parts = urlsplit(url)
    assert parts.scheme == "https"
    assert parts.username is parts.password is None
    assert parts.port in (None, 443)
    host = parts.hostname or ""
    assert host == "images.example.com" or host.endswith(".cdn.example")
    assert url.isascii()
    assert url.isprintable()


def refused_at(part: dict[str, object]) -> str | None:
    messages = [{"role": "system", "content": "see https://evil.example"}] * 2
    asked = [*messages, {"role": "user", "content": [{"type": "text", "text": "a:/b"}, part]}]
    try:
        refuse_media(json.dumps(asked).encode(), RULES)
    except MediaNotAllowed as error:
        return error.param if f"'{error.param}'" in error.message else error.message
    return None


EVIL = "https://evil.example/a.png"
PART = "messages[2].content[1]"


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "image_url", "image_url": {"url": EVIL, "detail": "auto"}}, "image_url.url"),
        ({"type": "image_url", "image_url": EVIL}, "image_url"),
        ({"type": "input_image", "image_url": "/etc/passwd"}, "image_url"),
        ({"type": "video_url", "video_url": {"url": "file:///a"}}, "video_url.url"),
        ({"type": "audio_url", "audio_url": {"url": EVIL}}, "audio_url.url"),
        ({"type": "file", "file": {"file_url": EVIL}}, "file.file_url"),
        ({"type": "file", "file": {"file_data": EVIL}}, "file.file_data"),
        ({"type": "input_file", "file_url": "x"}, "file_url"),
        ({"type": "image", "image": "/etc/a.png"}, "image"),
        ({"type": "image", "source": {"type": "url", "url": EVIL}}, "source.url"),
        ({"type": "video_url", "video_url": [EVIL]}, "video_url[0]"),
        # vLLM goes by such a name, whatever the type says, where there is a `uuid` beside it.
        ({"type": "text", "text": "a", "uuid": "1", "image_url": EVIL}, "image_url"),
        ({"type": "custom", "whatever": {"deep": [{"er": "S3://a/b"}]}}, "whatever.deep[0].er"),
        ({"type": "x", "text": {"url": EVIL}}, "text.url"),
    ],
)
def test_the_part_is_named_that_says_what_is_not_allowed(
    part: dict[str, object], place: str
) -> None:
    assert refused_at(part) == f"{PART}.{place}"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": EVIL},
        {"type": "image_url", "image_url": {"url": "data:,a", "detail": "auto"}},
        {"type": "image_url", "image_url": {"url": "https://x.cdn.example/a.png"}},
        {"type": "image_url", "image_url": None, "uuid": "a:b"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
    ],
)
def test_what_names_nothing_else_passes(part: dict[str, object]) -> None:
    assert refused_at(part) is None


def test_escapes_hide_no_name_and_no_url() -> None:
    hidden = (
        rb'[{"content":[{"type":"x","image\u005furl":{"\u0075rl":"\u0068ttps:\/\/evil.example"}}]}]'
    )
    with pytest.raises(MediaNotAllowed) as caught:
        refuse_media(hidden, RULES)
    assert caught.value.param == "messages[0].content[0].image_url.url"


def test_an_error_says_what_would_be_allowed_and_no_host_of_the_operators() -> None:
    for rules, words in (
        (RULES, "data: URLs and files of the hosts that the operator names"),
        (MediaRules(), "data: URLs"),
        (MediaRules(frozenset({"https"}), RULES.hosts), "files of the hosts that"),
        (MediaRules(frozenset()), "no URL at all"),
    ):
        with pytest.raises(MediaNotAllowed, match=words) as caught:
            refuse_urls({"url": "ftp://" + "x" * 500}, rules, "input")
        assert "example" not in caught.value.message
        assert len(caught.value.message) < 300
    with pytest.raises(MediaNotAllowed, match="a data: URL;"):
        refuse_urls({"url": "data:,secret"}, MediaRules(frozenset()), "input")


def test_parts_are_looked_at_under_whatever_name_a_server_may_read() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "a [b]"}]}
    Admission().check(parse_chat(json.dumps(body).encode()))
    body["messages"] = [{"role": "user", "content": "a", "Content": [{"image_url": EVIL}]}]
    with pytest.raises(MediaNotAllowed) as caught:
        Admission().check(parse_chat(json.dumps(body).encode()))
    assert caught.value.param == "messages[0].Content[0].image_url"


def test_messages_without_parts_say_nothing() -> None:
    refuse_media(msgspec.json.encode([1, None, {"content": EVIL}, {"content": None}]), RULES)


def inside(depth: int, name: str, value: object) -> dict[str, object]:
    part: object = value
    for _ in range(depth):
        part = {name: part}
    return {"x": part}


@pytest.mark.parametrize(
    "part",
    [inside(700, "k" * 4_000, ["a"] * 50_000), inside(700, "x", {"url": ["data:,x"] * 100_000})],
    ids=["long names", "allowed URLs"],
)
def test_what_stands_deep_takes_no_longer_to_look_at(part: dict[str, object]) -> None:
    started = time.process_time()
    refuse_urls(part, RULES, "x")
    assert time.process_time() - started < 0.5


def test_the_first_is_named_however_deep_and_however_long_its_names() -> None:
    deep = inside(700, "k" * 4_000, ["a", "file:///b", ["file:///c"]])
    with pytest.raises(MediaNotAllowed) as caught:
        refuse_urls([{"a": ["b", {"c": "d"}]}, deep, "file:///e"], RULES, "m")
    param = caught.value.param or ""
    assert param.startswith("m[1].x.kkk")
    assert param.endswith("k[1]")
    assert len(param) < 80_000
