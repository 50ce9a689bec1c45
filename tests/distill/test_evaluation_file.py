import msgspec
import pytest

from distill.evaluation_file import EvaluationFileError, from_bytes, to_bytes
from tests.distill.evaluations import evaluation


def test_what_is_written_is_read_back() -> None:
    made = evaluation()
    assert from_bytes(to_bytes(made)) == made


@pytest.mark.parametrize(
    ("wanted", "instead", "said"),
    [
        (b'"schema_version": 1', b'"schema_version": 2', "evaluate again"),
        (b'"confidence": 0.95', b'"confidence": 0.5', "confidence: must be 0.95"),
        (b'"rounds"', b'"round"', "unknown field `round`"),
        (b'"records": 1000', b'"records": "many"', r"\$.records"),
        (b'"low": -0.01', b'"low": NaN', "malformed"),
        (b'"candidate": {', b'"candidate": [', "malformed"),
    ],
)
def test_another_file_is_refused_with_the_place(wanted: bytes, instead: bytes, said: str) -> None:
    content = to_bytes(evaluation())
    assert wanted in content
    with pytest.raises(EvaluationFileError, match=said):
        from_bytes(content.replace(wanted, instead, 1))


def test_a_key_that_is_missing_is_named() -> None:
    document = msgspec.json.decode(to_bytes(evaluation()))
    del document["cascade"]["bill"]
    with pytest.raises(EvaluationFileError, match=r"bill.*cascade"):
        from_bytes(msgspec.json.encode(document))
