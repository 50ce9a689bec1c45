import pytest
from pydantic import ValidationError

from gateway.admitting import AdmissionConfig, MediaConfig
from gateway.wire.bounds import Bounds
from gateway.wire.media import MediaRules


def test_nothing_said_is_the_default_of_both() -> None:
    assert AdmissionConfig().bounds() == Bounds()
    assert MediaConfig().rules() == MediaRules()


def test_each_bound_is_the_operators() -> None:
    config = AdmissionConfig(max_messages=1, max_parts=2, max_tools=3, max_choices=4, max_tokens=5)
    assert config.bounds() == Bounds(messages=1, parts=2, tools=3, choices=4, tokens=5)


@pytest.mark.parametrize(
    "wrong", [{"max_messages": 0}, {"max_tokens": "9"}, {"max_choices": 129}, {"most": 1}]
)
def test_bounds_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AdmissionConfig.model_validate(wrong)


@pytest.mark.parametrize(
    "host", ["a.example", "*.a.example", "*.internal", "localhost", "10.1.2.3", "a-b.c:8443"]
)
def test_hosts_are_names_or_the_ends_of_names(host: str) -> None:
    rules = MediaConfig.model_validate({"schemes": ["http"], "hosts": [host]}).rules()
    assert rules == MediaRules(frozenset({"http"}), frozenset({host}))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"hosts": [host]} for host in ("*", "*.", "*.1.2", "a.*.b", "A.example", "https://a.b")),
        *({"hosts": [host]} for host in ("a.b/c", "a@b", "a.b.", "[::1]", "a:0", "", "a b", "ä.b")),
        {"schemes": ["file"]},
        {"hosts": "a.example"},
    ],
    ids=str,
)
def test_what_is_no_host_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MediaConfig.model_validate(wrong)
