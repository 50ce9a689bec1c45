"""A record gives the same decision here and over HTTP, to the last bit."""

import itertools
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from evaluation.records import Record, draft_of, earlier_kept_in, read_records
from gateway.conversations.memory import Known
from gateway.conversations.talks import Heard
from gateway.facts import RequestSettled
from routing import (
    PROMPT_MERIT,
    SIGNAL_NAMES,
    Basis,
    Checkpoint,
    Defer,
    Degraded,
    Linear,
    Logistic,
    NoDraft,
    Origin,
    Policy,
    PromptModel,
    PromptRule,
    Prospect,
    Reason,
    Role,
    Rule,
    Score,
    StreamedRules,
    Surface,
    Target,
    Terms,
    Threshold,
    Tree,
    Trees,
    Verdict,
    defer,
    hashed_terms,
    plan,
    policy_document,
    policy_from_document,
    prompt_of,
)
from routing.conversation import Naming, Talk, id_of_name
from routing.signals import AGREEMENT, EARLIER_KEPT
from tests.fakes.chunks import chunk, usage_report
from tests.fakes.observer import RememberingObserver
from tests.fakes.script import ROLE, Raw, Step
from tests.fakes.serving import Stage, stage, wait_until
from tests.fakes.upstream import SURE, Reply, completion

RECORDS = 60
BUCKETS = 512
GREEDY = {"temperature": 0}
LABELS = ("up", "down", "none")
WORDS = ["gold", "falls", "rises", "why", "the", "market", "is", "1,200", "東京", "Ünsure", "?"]
END = "<|im_end|>"
_conversations = itertools.count()
QUIET: dict[str, Any] = {"audit": {"complete_drafts": 0}, "objective": None}


# --- a policy that uses everything ---


def a_tree(dice: random.Random, features: int) -> Tree:
    """Depth 2, cut where features differ."""
    feature = [dice.randrange(features) for _ in range(3)]
    threshold = [dice.random() for _ in range(3)]
    missing = [dice.random() < 0.5 for _ in range(3)]
    leaves = [dice.uniform(-0.1, 0.1) for _ in range(4)]
    return Tree(
        (*feature, 0, 0, 0, 0), (*threshold, 0.0, 0.0, 0.0, 0.0),
        (1, 3, 5, -1, -1, -1, -1), (2, 4, 6, -1, -1, -1, -1),
        (*missing, False, False, False, False), (0.0, 0.0, 0.0, *leaves),
    )  # fmt: skip


def a_policy(dice: random.Random) -> Policy:
    # How far several drafts agree is for the cascades that ask for several.  What earlier turns
    # came to is among the others: a cascade with such a policy remembers conversations.
    names = (
        *sorted(SIGNAL_NAMES - {AGREEMENT}),
        "label=none",
        "label=up",
        "group=gold:en",
        PROMPT_MERIT,
    )
    n = len(names)
    weights = tuple(dice.uniform(-0.1, 0.3) for _ in names)
    whole = Rule(
        score=Linear(names, weights, (0.5,) * n, is_logit=True),
        calibration=Logistic(1.0, -1.0),
        threshold=Threshold(0.5),
        by_group={"gold:en": Logistic(0.5, 0.25)},
        gain=Trees(names, tuple(a_tree(dice, n) for _ in range(30)), 0.0),
    )
    never = Rule(Score(("min_probability",), (1.0,)), Logistic(1.0, 0.0), Threshold(0.0))
    places = tuple(sorted({place for word in WORDS for place in hashed_terms(word, BUCKETS)}))
    model = PromptModel(
        Terms(
            BUCKETS, places, tuple(dice.uniform(1, 3) for _ in places),
            tuple(dice.uniform(-0.6, 0.6) for _ in places),
        ),
        Surface((1.0,) * 9, (2.0,) * 9, tuple(dice.uniform(-0.05, 0.05) for _ in range(9))),
        {"gold:en": 0.1, "silver": -0.4},
        intercept=0.5,
    )  # fmt: skip
    return Policy(
        version="test",
        whole=whole,
        # What the prompt spares is held against the threshold at the end of a stream.
        streamed=StreamedRules(
            (Checkpoint(16, never),), replace(never, threshold=whole.threshold), never
        ),
        prompt=PromptRule(model, 0.05),
        sampling=GREEDY,
    )


# --- records, and the server that says what they say ---


def a_record(dice: random.Random, number: int) -> dict[str, Any]:
    """One request and its draft, in whatever shape they may come."""
    texts = (
        [dice.choice(LABELS)] if dice.random() < 0.3 else dice.choices(WORDS, k=dice.randint(1, 40))
    )
    texts = [f"{text} " for text in texts[:-1]] + texts[-1:]
    is_cut = dice.random() < 0.2
    tokens = texts if is_cut else [*texts, END]
    logprobs = [dice.choice([0.0, -dice.expovariate(3.0), -dice.expovariate(0.5)]) for _ in tokens]
    rows = [
        [logprob, logprob - dice.expovariate(0.5) - math.log(2)]
        if dice.random() < 0.9
        else [logprob / 2, logprob]
        for logprob in logprobs
    ]
    if dice.random() < 0.1:
        rows[0] = rows[0][:1]
    asked = " ".join(dice.choices(WORDS, k=dice.choice([3, 30, 3000])))
    parts = [{"type": "text", "text": asked}, {"type": "text", "text": "?"}]
    request = {
        "messages": [
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": parts if dice.random() < 0.3 else asked},
        ],
        "temperature": 1.0 if dice.random() < 0.1 else 0,
    }
    signals = {}
    if judged := dice.choice([0, 0, 1, 3]):
        signals = {EARLIER_KEPT: (dice.randint(0, judged) + 1) / (judged + 2)}
    return {
        "id": str(number),
        "group": dice.choice([None, "gold:en", "silver", "lead"]),
        "request": request,
        "student": {
            "text": "".join(texts), "tokens": tokens, "token_logprobs": logprobs,
            "top_logprobs": rows, "answer_span": [0, len(texts)],
            "finish_reason": "length" if is_cut else "stop", "ok": True, "signals": signals,
        },
        "teacher": {"ok": True},
    }  # fmt: skip


def entries_of(record: Record) -> list[dict[str, Any]]:
    student = record.student
    assert student.tokens is not None
    assert student.token_logprobs is not None
    assert student.top_logprobs is not None
    said = zip(student.tokens, student.token_logprobs, student.top_logprobs, strict=True)
    return [
        {
            "token": token,
            "logprob": logprob,
            "top_logprobs": [{"token": "?", "logprob": each} for each in row or ()],
        }
        for token, logprob, row in said
    ]


def reply_of(record: Record) -> Reply:
    """The record's draft as a server gives it, whole or streamed."""
    entries, reason = entries_of(record), record.student.finish_reason
    choice = {"logprobs": {"content": entries}, "finish_reason": reason}
    body = completion(record.student.text, choice=choice)
    is_cut = reason == "length"
    steps: list[Step] = [ROLE]
    steps += [
        Raw(chunk({"content": each["token"]}, [each]))
        for each in (entries if is_cut else entries[:-1])
    ]
    steps.append(
        Raw(chunk({"content": ""}, None if is_cut else entries[-1:], {"finish_reason": reason}))
    )
    return Reply(body=body, steps=[*steps, Raw(usage_report())])


# --- both ways ---


def decided_here(record: Record, policy: Policy) -> Verdict:
    """What ``evaluation`` makes of the record."""
    request = record.request
    prompt = prompt_of(request["messages"], record.group)
    prospect = Prospect(
        group=record.group,
        promised=policy.promised(prompt),
        sampling={"temperature": request["temperature"]},
        earlier_kept=earlier_kept_in(record.student),
    )
    first = plan(prospect, frozenset(), policy)
    drafts = first if isinstance(first, NoDraft) else [draft_of(record.student)]
    return defer(drafts, policy, prospect)


@dataclass(frozen=True)
class Scene:
    stage: Stage
    policy: Policy
    records: tuple[Record, ...]

    def ask(self, record: Record, model: str, **changes: object) -> httpx.Response:
        """Post the record's request."""
        headers = {} if record.group is None else {"x-understudy-group": record.group}
        headers["x-session-id"] = self.with_a_past(record, model)
        body = {**record.request, "model": model, **changes}
        return self.stage.client.post("/v1/chat/completions", json=body, headers=headers)

    def with_a_past(self, record: Record, model: str) -> str:
        """The name of a conversation whose earlier turns came to what the record says."""
        name, served = f"{record.id}-{next(_conversations)}", self.stage.gateway.context.served
        kept, talks = earlier_kept_in(record.student), served[model].talks
        if kept is not None and talks is not None:
            judged = next(count for count in (1, 3) if not (kept * (count + 2)) % 1)
            talk = Talk(judged, judged, judged + 1 - round(kept * (judged + 2)))
            key = id_of_name(talks.whose(None), Naming.SESSION, name.encode())
            talks.hear([Heard(key, Known(key, talk))], self.stage.gateway.context.clock())
        return name

    def decided_over_http(self, record: Record, model: str, **changes: object) -> RequestSettled:
        """What the gateway tells of the same request, answered by the same draft."""
        context = self.stage.gateway.context
        observer = context.observer = RememberingObserver(context.observer)
        self.stage.student.reply = reply_of(record)
        response = self.ask(record, model, **changes)
        assert response.status_code == 200, response.text
        wait_until(lambda: observer.settled_facts)
        (fact,) = observer.settled_facts
        return fact


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, dice = tmp_path_factory.mktemp("same"), random.Random(7)
    basis = Basis(Target("quality", 0.05, 0.95), None, RECORDS)
    written = {}
    for name in ("assistant", "aborting"):
        origin = Origin(name, "student-1", basis, "2026-11-30", "0" * 64, streamed=basis)
        written[name] = policy_document(a_policy(random.Random(3)), origin)
        (folder / f"{name}.json").write_text(json.dumps(written[name]))
    lines = [json.dumps(a_record(dice, number)) for number in range(RECORDS)]
    (folder / "records.jsonl").write_text("\n".join(lines))
    cascade = {**QUIET, "policy": "assistant.json"}
    aborting = {**QUIET, "policy": "aborting.json", "streaming": {"early_abort": True}}
    with stage(folder, cascade=cascade, others={"aborting": aborting}) as built:
        policy = policy_from_document(
            written["assistant"], version="here", cascade="assistant", student_version="student-1"
        )
        built.teacher.reply = Reply(body=completion("Paris.", SURE))
        yield Scene(built, policy, tuple(read_records(folder / "records.jsonl")))


@pytest.mark.parametrize("model", ["assistant", "aborting"])
def test_records_are_decided_over_http_as_they_are_here(scene: Scene, model: str) -> None:
    reasons = set()
    for record in scene.records:
        here, there = decided_here(record, scene.policy), scene.decided_over_http(record, model)
        assert there.confidence == here.confidence, record.id
        assert there.merit == here.merit, record.id
        assert there.reason is here.reason, record.id
        assert there.group == record.group
        assert (there.served_by is Role.TEACHER) is isinstance(here, Defer), record.id
        reasons.add(here.reason)
    # Whatever can happen to a text does happen here.
    assert reasons == {
        Reason.CONFIDENT, Reason.LOW_CONFIDENCE, Reason.NO_SIGNAL, Reason.PROMPT_SAYS_SO,
    }  # fmt: skip


def test_draft_that_the_prompt_spares_is_not_paid_for(scene: Scene) -> None:
    spared = [
        record
        for record in scene.records
        if decided_here(record, scene.policy).reason is Reason.PROMPT_SAYS_SO
    ]
    assert spared
    for model in ("assistant", "aborting"):
        fact = scene.decided_over_http(spared[0], model)
        assert [leg.role for leg in fact.legs] == [Role.TEACHER]


@pytest.mark.parametrize("model", ["assistant", "aborting"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_draft_that_was_spared_is_written_after_all_where_the_teacher_fails(
    scene: Scene,
    model: str,
    is_stream: bool,
) -> None:
    spared = next(
        record
        for record in scene.records
        if decided_here(record, scene.policy).reason is Reason.PROMPT_SAYS_SO
    )
    scene.stage.teacher.reply = Reply(status=500, body={})
    try:
        fact = scene.decided_over_http(spared, model, stream=is_stream)
        assert [leg.role for leg in fact.legs] == [Role.TEACHER, Role.STUDENT]
        assert (fact.served_by, fact.reason) == (Role.STUDENT, Reason.PROMPT_SAYS_SO)
        assert fact.degraded is Degraded.TEACHER_FAILED
        assert fact.merit == decided_here(spared, scene.policy).merit
        scene.stage.student.reply = Reply(status=500, body={})
        response = scene.ask(spared, model, stream=is_stream)
        assert response.status_code == 503
    finally:
        scene.stage.teacher.reply = Reply(body=completion("Paris.", SURE))


def test_operator_who_sets_the_sampling_sets_it_for_all_clients(
    scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / "assistant.json").write_text((scene.stage.folder / "assistant.json").read_text())
    cascade = {**QUIET, "policy": "assistant.json", "student": {"extra_body": GREEDY}}
    with stage(tmp_path, cascade=cascade) as built:
        other = Scene(built, scene.policy, scene.records)
        warm = [each for each in scene.records if each.request["temperature"] == 1.0]
        reasons = {other.decided_over_http(each, "assistant").reason for each in warm}
        assert Reason.NO_SIGNAL not in reasons
        drafted = built.student.requests
        assert drafted
        assert {request["temperature"] for request in drafted} == {0}
