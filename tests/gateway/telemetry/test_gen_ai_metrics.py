import pytest

from gateway.facts import SPARE, Ending, Leg, RequestSettled
from gateway.telemetry.gen_ai_metrics import GenAiMetrics
from gateway.telemetry.registry import Registry
from routing.money import NOTHING_USED, Usage
from routing.vocabulary import Role

OF_SERVER = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "understudy",
    "gen_ai_request_model": "assistant",
}
OF_CLIENT = OF_SERVER | {"gen_ai_provider_name": "openai", "gen_ai_request_model": "Big-9B"}
USAGE = Usage(input=100, output=10, cached_input=40, reasoning=4)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def gen_ai(registry: Registry) -> GenAiMetrics:
    made = GenAiMetrics(registry)
    made.named("assistant", Role.TEACHER, "Big-9B")
    return made


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (Ending.KEPT, ""),
        (Ending.ESCALATED, ""),
        (Ending.DEGRADED, ""),
        (Ending.FAILED, "_OTHER"),
        (Ending.REJECTED, "_OTHER"),
        (Ending.CANCELLED, "_OTHER"),
    ],
)
def test_a_request_without_an_answer_is_an_error(
    registry: Registry, gen_ai: GenAiMetrics, ending: Ending, error: str
) -> None:
    stream = {"first_byte_seconds": 0.2, "is_stream": True, "served_by": Role.STUDENT}
    legs = [Leg(Role.STUDENT, Usage(100, 12), 5, 1.0)]
    fact = RequestSettled("r", ending, 200, 1.4, legs=legs, first_tokens=4, **stream)  # type: ignore[arg-type]
    gen_ai.settled("assistant", fact)
    name = "gen_ai_server_request_duration_seconds_sum"
    assert registry.get_sample_value(name, OF_SERVER | {"error_type": error}) == 1.4
    is_answered = not error
    name = "gen_ai_server_time_to_first_token_seconds_sum"
    assert registry.get_sample_value(name, OF_SERVER) == (0.2 if is_answered else None)
    name = "gen_ai_server_time_per_output_token_seconds_sum"
    pace = pytest.approx((1.4 - 0.2) / (12 - 4)) if is_answered else None
    assert registry.get_sample_value(name, OF_SERVER) == pace


def test_a_call_is_told_by_the_name_that_its_server_knows(
    registry: Registry, gen_ai: GenAiMetrics
) -> None:
    gen_ai.called("assistant", Leg(Role.TEACHER, USAGE, 5, 0.7))
    gen_ai.called("assistant", Leg(Role.TEACHER, NOTHING_USED, 0, 0.1, "upstream_busy"))
    gen_ai.called("assistant", Leg(Role.TEACHER, None, None, 0.2, "cancelled"))
    seconds = "gen_ai_client_operation_duration_seconds_sum"
    assert registry.get_sample_value(seconds, OF_CLIENT | {"error_type": ""}) == 0.7
    failed = registry.get_sample_value(seconds, OF_CLIENT | {"error_type": "_OTHER"})
    assert failed == pytest.approx(0.3)
    for kind, tokens in (("input", 100), ("output", 10)):
        labels = OF_CLIENT | {"gen_ai_token_type": kind}
        name = "gen_ai_client_token_usage"
        assert registry.get_sample_value(f"{name}_sum", labels) == tokens
        assert registry.get_sample_value(f"{name}_count", labels) == 1


def test_drafts_beside_the_chosen_one_are_no_call_of_their_own(
    registry: Registry, gen_ai: GenAiMetrics
) -> None:
    gen_ai.called("assistant", Leg(Role.TEACHER, USAGE, 5, 0.7))
    gen_ai.called("assistant", Leg(Role.TEACHER, USAGE, 5, 0.7, SPARE))
    count = "gen_ai_client_operation_duration_seconds_count"
    assert registry.get_sample_value(count, OF_CLIENT | {"error_type": ""}) == 1
    tokens = OF_CLIENT | {"gen_ai_token_type": "output"}
    assert registry.get_sample_value("gen_ai_client_token_usage_sum", tokens) == 20


def test_a_model_without_a_name_is_other(registry: Registry, gen_ai: GenAiMetrics) -> None:
    gen_ai.called("assistant", Leg(Role.STUDENT, USAGE, 5, 0.7))
    labels = OF_CLIENT | {"gen_ai_request_model": "other", "gen_ai_token_type": "input"}
    assert registry.get_sample_value("gen_ai_client_token_usage_sum", labels) == 100


def test_a_model_that_is_asked_no_more_is_shown_no_more(
    registry: Registry, gen_ai: GenAiMetrics
) -> None:
    gen_ai.named("second", Role.TEACHER, "Big-9B")
    gen_ai.called("assistant", Leg(Role.TEACHER, USAGE, 5, 0.7))
    gen_ai.named("assistant", Role.TEACHER, "Big-10B")
    gen_ai.called("assistant", Leg(Role.TEACHER, USAGE, 5, 0.7))
    assert b'"Big-9B"' in registry.exposition()  # the second cascade has it still
    gen_ai.named("second", Role.TEACHER, "Big-10B")
    assert b'"Big-9B"' not in registry.exposition()
    assert b'"Big-10B"' in registry.exposition()


def test_a_model_that_gets_its_old_name_back_is_counted_anew(
    registry: Registry, gen_ai: GenAiMetrics
) -> None:
    for name in ("Big-9B", "Big-10B", "Big-9B"):
        gen_ai.named("assistant", Role.TEACHER, name)
        gen_ai.called("assistant", Leg(Role.TEACHER, USAGE, 5, 0.7))
    count = "gen_ai_client_operation_duration_seconds_count"
    assert registry.get_sample_value(count, OF_CLIENT | {"error_type": ""}) == 1
    assert b'"Big-10B"' not in registry.exposition()
