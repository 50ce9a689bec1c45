"""What a collector gets of a request, and what model servers are told of its trace."""

from collections.abc import Iterator
from threading import Event
from typing import Any

import httpx
import pytest

from tests.fakes.collector import Collector, SeenSpan, new_context
from tests.fakes.observer import RememberingObserver
from tests.fakes.script import ROLE, Until, Words, finish, used, whole
from tests.fakes.serving import Stage, closed_port_url, server_of, serving, stage, wait_until
from tests.fakes.trial import HOPELESS, UNSURE, words
from tests.fakes.upstream import Reply, completion

CASCADES: dict[str, dict[str, Any]] = {
    "continuing": {"streaming": {"handover": "continue"}},
    "learning": {"audit": {"complete_drafts": 1}},
    "sampled": {"samples": 3, "student": {"extra_body": {"temperature": 0.7}}},
    "unreachable-teacher": {"teacher": {"base_url": closed_port_url()}},
    "unreachable": {
        "student": {"base_url": closed_port_url()},
        "teacher": {"base_url": closed_port_url()},
    },
}
NOT_COMPLETED = {"audit": {"complete_drafts": 0}}
REQUEST = "POST /v1/chat/completions"


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    made = Collector()
    with serving(made) as url:
        yield made, url


@pytest.fixture(scope="module")
def theatre(
    collector: tuple[Collector, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A gateway that traces, and sends its spans soon."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector[1])
        environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        others = {name: NOT_COMPLETED | changes for name, changes in CASCADES.items()}
        folder = tmp_path_factory.mktemp("traces")
        with stage(
            folder, cascade=NOT_COMPLETED, others=others, settings={"tracing": True}
        ) as built:
            wait_until(lambda: not built.gateway.context.background)
            yield built


class Scene:
    """One request of a client that traces, and what the collector got of it."""

    def __init__(self, theatre: Stage, collector: Collector) -> None:
        self.stage = theatre
        self.collector = collector
        self.parent, self.trace_id, self.client_span = new_context()
        for model in (theatre.student, theatre.teacher):
            model.requests.clear()
            model.headers.clear()
            model.played.clear()
            model.reply = Reply()
        context = theatre.gateway.context.served["continuing"].cascade
        server_of(context.teacher).can_continue = True

    def ask(self, model: str = "assistant", **changes: Any) -> httpx.Response:
        headers = {"traceparent": self.parent} | changes.pop("headers", {})
        question = self.stage.question | {"model": model} | changes
        return self.stage.client.post("/v1/chat/completions", json=question, headers=headers)

    def spans(self, count: int) -> list[SeenSpan]:
        return self.collector.trace(self.trace_id, count)


@pytest.fixture
def scene(theatre: Stage, collector: tuple[Collector, str]) -> Scene:
    return Scene(theatre, collector[0])


def is_whole(spans: list[SeenSpan]) -> None:
    """The first is the parent of all others, and all of them end."""
    root = spans[0]
    assert (root.name, root.kind) == (REQUEST, "server")
    assert {span.parent_id for span in spans[1:]} == {root.span_id}
    assert all(root.started <= span.started <= span.ended for span in spans)
    assert all(span.ended <= root.ended for span in spans)
    assert not any(span.events for span in spans)


def told(span: SeenSpan, *names: str) -> tuple[Any, ...]:
    return tuple(span.attributes.get(name) for name in names)


def test_a_kept_draft(scene: Scene) -> None:
    response = scene.ask()
    spans = scene.spans(3)
    is_whole(spans)
    root, plan, draft = spans
    assert [span.name for span in spans] == [REQUEST, "plan", "draft"]
    assert root.parent_id == scene.client_span
    assert not any(span.is_error for span in spans)
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "understudy.request_id": response.headers["x-request-id"],
        "understudy.cascade": "assistant",
        "understudy.outcome": "kept",
        "understudy.stream": False,
        "understudy.served_by": "student",
        "understudy.reason": "confident",
        "understudy.confidence": pytest.approx(0.99, abs=0.01),
        "understudy.merit": pytest.approx(0.99, abs=0.01),
        "understudy.policy": "uncalibrated",
        "understudy.cost_usd": pytest.approx(100 * 0.02e-6 + 10 * 0.06e-6),
    }
    assert plan.attributes == {"understudy.role": "student"}
    port = int(scene.stage.student.headers[0]["host"].rpartition(":")[2])
    assert draft.kind == "client"
    assert draft.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "upstream-student",
        "gen_ai.response.model": "upstream-name",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "server.address": "127.0.0.1",
        "server.port": port,
        "understudy.kind": "served",
        "understudy.cost_usd": pytest.approx(100 * 0.02e-6 + 10 * 0.06e-6),
    }


def test_the_collector_is_told_whose_spans_these_are(scene: Scene) -> None:
    scene.ask()
    resource = scene.spans(3)[0].resource
    assert resource["service.name"] == "understudy"
    assert resource["deployment.environment.name"] == "test"
    assert resource["service.version"]
    assert scene.collector.headers[-1]["api-key"] == "secret"


def test_an_escalation(scene: Scene) -> None:
    scene.stage.student.reply = Reply(completion("Rome?", UNSURE))
    scene.ask()
    spans = scene.spans(5)
    is_whole(spans)
    assert [span.name for span in spans] == [REQUEST, "plan", "draft", "grant", "teacher"]
    root, _, draft, grant, teacher = spans
    assert told(root, "understudy.outcome", "understudy.reason") == ("escalated", "low_confidence")
    assert told(draft, "understudy.kind") == ("wasted",)
    assert grant.attributes == {"understudy.granted": True}
    assert told(teacher, "understudy.kind", "gen_ai.request.model") == (
        "served",
        "upstream-teacher",
    )


def test_each_model_server_is_told_of_its_own_call(scene: Scene) -> None:
    scene.stage.student.reply = Reply(completion("Rome?", UNSURE))
    scene.ask(headers={"tracestate": "rojo=1,congo=2"})
    _, _, draft, _, teacher = scene.spans(5)
    for model, span in ((scene.stage.student, draft), (scene.stage.teacher, teacher)):
        (headers,) = model.headers
        assert headers["traceparent"] == f"00-{scene.trace_id}-{span.span_id}-01"
        assert headers["tracestate"] == "rojo=1,congo=2"
        assert span.state == "rojo=1,congo=2"


def test_streams_are_told_of_their_call_too(scene: Scene) -> None:
    scene.stage.student.reply = Reply(steps=whole(words(20)))
    scene.ask(stream=True)
    root, _, draft = scene.spans(3)
    (headers,) = scene.stage.student.headers
    assert headers["traceparent"] == f"00-{scene.trace_id}-{draft.span_id}-01"
    assert told(draft, "gen_ai.response.model", "gen_ai.response.finish_reasons") == (
        "upstream-name",
        ["stop"],
    )
    assert told(root, "understudy.stream") == (True,)
    (first_byte,) = told(root, "understudy.first_byte_seconds")
    assert 0 < first_byte < (root.ended - root.started) / 1e9


def test_a_degraded_answer(scene: Scene) -> None:
    scene.stage.student.reply = Reply(completion("Rome?", UNSURE))
    scene.ask("unreachable-teacher")
    spans = scene.spans(5)
    is_whole(spans)
    root, _, draft, grant, teacher = spans
    assert told(root, "understudy.outcome", "understudy.degraded") == ("degraded", "teacher_failed")
    assert told(draft, "understudy.kind") == ("served",)
    assert told(grant, "understudy.granted") == (True,)
    assert teacher.is_error
    assert not root.is_error
    assert told(teacher, "error.type", "gen_ai.response.model") == ("upstream_unavailable", None)


def test_a_teacher_without_room(scene: Scene) -> None:
    scene.stage.student.reply = Reply(completion("Rome?", UNSURE))
    teacher = scene.stage.gateway.models[1]
    before, teacher.open_calls = teacher.open_calls, 10**6
    try:
        scene.ask()
    finally:
        teacher.open_calls = before
    root, _, _, grant = scene.spans(4)
    assert grant.attributes == {
        "understudy.granted": False,
        "understudy.degraded": "teacher_busy",
    }
    assert told(root, "understudy.degraded") == ("teacher_busy",)


def test_both_models_fail(scene: Scene) -> None:
    assert scene.ask("unreachable").status_code == 503
    spans = scene.spans(5)
    is_whole(spans)
    root, _, draft, _, teacher = spans
    assert root.is_error
    assert draft.is_error
    assert teacher.is_error
    assert told(root, "http.response.status_code", "error.type", "understudy.outcome") == (
        503,
        "teacher_unavailable",
        "failed",
    )


def test_a_request_that_is_refused_has_no_steps_and_is_no_error_of_ours(scene: Scene) -> None:
    assert scene.ask("no-such-model").status_code == 404
    (root,) = scene.spans(1)
    assert told(root, "http.response.status_code", "error.type") == (404, "model_not_found")
    assert not root.is_error


def test_a_stream_that_is_handed_over(scene: Scene) -> None:
    """The draft and the teacher's part overlap, and both were served."""
    doubted = Words(words(16, "d"), HOPELESS, is_counted=True)
    scene.stage.student.reply = Reply(
        steps=[ROLE, Words(words(16), is_counted=True), doubted, *whole(words(4))]
    )
    scene.stage.teacher.reply = Reply(steps=whole([" t0", " t1."]))
    assert scene.ask("continuing", stream=True).status_code == 200
    spans = scene.spans(5)
    is_whole(spans)
    root, _, draft, grant, teacher = spans
    assert (grant.name, teacher.name) == ("grant", "teacher")
    assert told(root, "understudy.outcome", "understudy.handover") == ("escalated", "continue")
    assert told(draft, "understudy.kind") == ("served",)
    assert told(teacher, "understudy.kind") == ("served",)


def test_a_draft_that_is_finished_off_the_path_goes_on_below_the_one_that_was_given_up(
    scene: Scene,
) -> None:
    may_go_on = Event()
    scene.stage.student.reply = Reply(
        steps=[
            ROLE, Words(words(8), UNSURE, is_counted=True), Until(may_go_on),
            Words(words(12, "r"), is_counted=True), *finish(usage=used(20)),
        ]
    )  # fmt: skip
    scene.stage.teacher.reply = Reply(steps=whole(words(3, "t")))
    scene.ask("learning", stream=True)
    is_whole(scene.spans(5))
    may_go_on.set()
    spans = scene.spans(6)
    root = spans[0]
    draft, rest = [span for span in spans if span.name == "draft"]
    assert told(draft, "understudy.kind", "understudy.outcome") == ("wasted", "aborted")
    assert told(rest, "understudy.kind", "gen_ai.usage.output_tokens") == ("audit", 12)
    assert rest.parent_id == draft.span_id
    assert rest.ended > root.ended


def test_drafts_beside_the_one_that_counts_are_in_its_span(scene: Scene) -> None:
    choices = [completion(f"Paris {n}.")["choices"][0] | {"index": n} for n in range(3)]
    scene.stage.student.reply = Reply(completion(choices=choices, usage=used(30)))
    scene.ask("sampled")
    *_, draft = scene.spans(3)
    assert told(draft, "gen_ai.usage.output_tokens", "understudy.kind") == (30, "served")
    assert told(draft, "gen_ai.response.finish_reasons") == (["stop"] * 3,)
    expected = 100 * 0.02e-6 + 30 * 0.06e-6
    assert told(draft, "understudy.cost_usd") == (pytest.approx(expected),)


def test_a_client_that_leaves(scene: Scene) -> None:
    scene.stage.student.reply = Reply(delay_seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            scene.stage.url + "/v1/chat/completions",
            json=scene.stage.question,
            headers={"traceparent": scene.parent},
            timeout=0.3,
            trust_env=False,
        )
    spans = scene.spans(3)
    is_whole(spans)
    root, _, draft = spans
    assert told(root, "understudy.outcome", "http.response.status_code") == ("cancelled", None)
    assert told(draft, "understudy.outcome", "error.type") == ("cancelled", None)
    assert told(draft, "gen_ai.usage.output_tokens", "understudy.cost_usd") == (None, None)
    assert not root.is_error
    assert not draft.is_error


def test_a_client_that_leaves_amid_its_stream(scene: Scene) -> None:
    never = Event()
    scene.stage.student.reply = Reply(steps=[ROLE, Words(words(20), is_counted=True), Until(never)])
    with scene.stage.client.stream(
        "POST",
        "/v1/chat/completions",
        json=scene.stage.question | {"stream": True},
        headers={"traceparent": scene.parent},
    ) as response:
        assert next(response.iter_lines()).startswith("data: ")
        out = {span.name for span in scene.collector.spans if span.trace_id == scene.trace_id}
        assert out <= {"plan"}  # the only one that is over
    spans = scene.spans(3)
    is_whole(spans)
    root, _, draft = spans
    assert told(root, "understudy.outcome", "understudy.stream") == ("cancelled", True)
    assert told(draft, "understudy.outcome", "understudy.kind") == ("cancelled", "served")
    assert told(draft, "gen_ai.usage.output_tokens", "gen_ai.response.finish_reasons") == (20, None)
    never.set()


def test_what_a_client_does_not_want_recorded_is_not(scene: Scene) -> None:
    """It is passed on all the same: the flag says no, and the trace stays one."""
    parent, trace_id, _ = new_context(is_sampled=False)
    response = scene.ask(headers={"traceparent": parent})
    scene.ask()
    scene.spans(3)  # sent after the other could have been
    assert [span for span in scene.collector.spans if span.trace_id == trace_id] == []
    handed_on = scene.stage.student.headers[0]["traceparent"]
    assert handed_on.startswith(f"00-{trace_id}-")
    assert handed_on.endswith("-00")
    assert handed_on != parent
    assert response.status_code == 200


@pytest.mark.parametrize("parent", ["nonsense", f"00-{'0' * 32}-{'0' * 16}-01", ""])
def test_a_malformed_context_begins_a_trace_of_its_own(scene: Scene, parent: str) -> None:
    request_id = scene.ask(headers={"traceparent": parent}).headers["x-request-id"]

    def roots() -> list[SeenSpan]:
        return [
            span
            for span in list(scene.collector.spans)
            if span.attributes.get("understudy.request_id") == request_id
        ]

    wait_until(roots)
    (root,) = roots()
    assert root.parent_id == ""
    assert root.trace_id in scene.stage.student.headers[0]["traceparent"]


def test_the_log_line_names_the_trace(scene: Scene) -> None:
    context = scene.stage.gateway.context
    real = context.observer
    context.observer = observer = RememberingObserver(real)
    try:
        scene.ask()
    finally:
        context.observer = real
    (fact,) = observer.settled_facts
    assert fact.trace_id == scene.trace_id
