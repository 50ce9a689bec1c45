import msgspec
import pytest

from distill.dataset import DataError, in_reading_order, read_examples
from distill.rows import Format, Lesson, Manner, row_of, shape_of
from routing.comparators import normalised_text
from tests.fakes.datasets import example, examples, preference, row


def test_a_row_is_kept_as_it_came() -> None:
    line = b'{ "id": "a", "prompt": [{"role": "user", "content": "Hi"}], "extra": 1, "completion": [{"role": "assistant", "content": "Ho"}] }'  # noqa: E501
    (read,) = read_examples([line, b"  "], "rows")
    assert (read.line, read.id, read.question) == (line, "a", "Hi")
    assert read.answer["content"] == "Ho"
    assert not read.is_synthetic


def test_a_row_of_preferences_has_the_draft() -> None:
    read = example(preference(row("a", "Hi", "Ho"), "Hum"))
    assert read.rejected is not None
    assert (read.answer["content"], read.rejected["content"]) == ("Ho", "Hum")


def test_what_the_export_writes_is_read_back() -> None:
    request = {
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
    }
    answer = {"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}
    lesson = Lesson(
        "a",
        msgspec.json.encode(request),
        msgspec.json.encode(answer),
        None,
        is_draft_complete=False,
        is_spliced=False,
    )
    (read,) = read_examples([row_of(lesson, Format.SFT, Manner(normalised_text())).line], "rows")
    assert msgspec.json.decode(read.tools or "") == request["tools"]
    assert msgspec.json.decode(read.response_format or "") == request["response_format"]
    assert [each["role"] for each in read.earlier] == ["system"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "is no row of a data set"),
        (b'{"id": "a"}', "is no row of a data set"),
        (b'{"id": "a", "prompt": [{"role": "user"}]}', "needs a prompt, and a completion"),
        (b'{"id": "a", "prompt": [], "completion": [{}]}', "needs a prompt"),
        (b'{"id": "a", "prompt": [{"role": "user"}], "completion": []}', "needs a prompt"),
    ],
)
def test_what_is_no_row_is_told_with_its_line(line: bytes, why: str) -> None:
    good = msgspec.json.encode(row("a", "Hi"))
    with pytest.raises(DataError, match=f"^rows, line 2: {why}"):
        list(read_examples([good, line], "rows"))


def test_the_shortest_of_each_shape_comes_first() -> None:
    rows = examples([
        row("a", "A long question of the plain shape"),
        row("b", "Hi"),
        row("c", "A long one", synthetic=True),
        row("d", "Hi again"),
    ])  # fmt: skip
    ordered = [each.id for each in in_reading_order(rows)]
    assert ordered == ["b", "c", "a", "d"]
    assert len({shape_of(msgspec.json.decode(each.line)) for each in rows}) == 2
