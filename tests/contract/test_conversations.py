"""Turns of one conversation belong together, as clients with the official library have them."""

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from openai.types.chat import ChatCompletionMessageParam

from gateway.stores.redis_keys import turns_key
from routing.conversation import Naming, id_of_name
from routing.vocabulary import Role
from tests.fakes.pair_schema import valid_pair
from tests.fakes.script import ROLE, Until, Words, whole
from tests.fakes.serving import PLAIN_HTTP, Stage, serving, stage, wait_until
from tests.fakes.trial import HOPELESS, Trial, joined, words
from tests.fakes.upstream import SURE, UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import StoreServer, store_server

HARD, EASY = "hard", "easy"
STICKY: dict[str, Any] = {"conversation": {"sticky_turns": 1}, "audit": {"complete_drafts": 0}}
TENANTS = ("ann", "bob")
_sessions = (f"session-{number}" for number in itertools.count())


def student(request: Mapping[str, Any]) -> Reply:
    """Sure of all but what is hard."""
    logprob = UNSURE if HARD in request["messages"][-1]["content"] else SURE
    return Reply(body=completion("Rome.", logprob), steps=whole(["Ro", "me."], logprob))


def teacher(_: Mapping[str, Any]) -> Reply:
    return Reply(body=completion("Paris."), steps=whole(["Pa", "ris."]))


@dataclass
class Talker:
    """A client that repeats the conversation with each turn, as they all do."""

    scene: Stage
    key: str = TENANTS[0]
    model: str = "assistant"
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    is_stream: bool = False
    messages: list[ChatCompletionMessageParam] = field(default_factory=list)

    def says(self, text: str) -> tuple[str, str]:
        """The user's next words; who answered them, and why."""
        self.messages.append({"role": "user", "content": text})
        plain = openai.DefaultHttpxClient(verify=PLAIN_HTTP)
        url = self.scene.url + "/v1"
        with openai.OpenAI(
            base_url=url, api_key=self.key, max_retries=0, http_client=plain
        ) as client:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=self.messages,
                stream=self.is_stream,
                extra_headers=self.headers,
                extra_body=self.fields,
            )
            answer: Any = raw.parse()
            if self.is_stream:
                deltas = [chunk.choices[0].delta.content for chunk in answer if chunk.choices]
                said = "".join(filter(None, deltas))
            else:
                said = answer.choices[0].message.content
        self.messages.append({"role": "assistant", "content": said})
        return raw.headers["x-understudy-served-by"], raw.headers["x-understudy-reason"]


def keyed(folder: Path, **settings: Any) -> dict[str, Any]:
    """Settings with a key for each tenant."""
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in TENANTS}
    entries = [{"name": name, "sha256": found} for name, found in hashes.items()]
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
    return {"keys_file": folder / "keys.yaml", **settings}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("talks")
    with stage(folder, cascade=STICKY, others={"plain": {}}, settings=keyed(folder)) as built:
        yield built


@pytest.fixture(autouse=True)
def scripted(request: pytest.FixtureRequest) -> None:
    if "scene" in request.fixturenames:
        built: Stage = request.getfixturevalue("scene")
        built.student.reply, built.teacher.reply = student, teacher


def kept(talker: Talker, text: str = EASY) -> bool:
    return talker.says(text) == ("student", "confident")


def escalated(talker: Talker) -> bool:
    return talker.says(HARD) == ("teacher", "low_confidence")


def stuck(talker: Talker, text: str = EASY) -> bool:
    return talker.says(text) == ("teacher", "sticky")


NAMES: list[dict[str, Any]] = [
    {"headers": {"x-session-id": "NAME"}},
    {"headers": {"x-understudy-session": "NAME"}},
    {"fields": {"prompt_cache_key": "NAME"}},
    {},
]


def named(name: dict[str, Any]) -> dict[str, Any]:
    """The same with a name that no other test has."""
    session = next(_sessions)
    renamed: dict[str, Any] = json.loads(json.dumps(name).replace("NAME", session))
    opening: list[ChatCompletionMessageParam] = [{"role": "system", "content": session}]
    return renamed | {"messages": opening}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", NAMES, ids=["session", "ours", "cache key", "words"])
def test_next_turn_after_an_escalation_stays_with_the_teacher(
    scene: Stage, name: dict[str, Any], is_stream: bool
) -> None:
    talker = Talker(scene, is_stream=is_stream, **named(name))
    drafts = len(scene.student.requests)
    assert kept(talker)
    assert escalated(talker)
    assert len(scene.student.requests) == drafts + 2
    assert stuck(talker)
    assert len(scene.student.requests) == drafts + 2  # and no draft was paid for
    assert kept(talker)


def test_first_turn_that_is_escalated_is_followed_by_one_of_the_teacher(scene: Stage) -> None:
    talker = Talker(scene, **named({}))
    assert escalated(talker)
    assert stuck(talker)


@pytest.mark.parametrize("name", NAMES, ids=["session", "ours", "cache key", "words"])
def test_another_tenant_with_the_same_words_is_not_concerned(
    scene: Stage, name: dict[str, Any]
) -> None:
    mine = named(name)
    ann, bob = Talker(scene, **mine), Talker(scene, key="bob", **mine)
    bob.messages = [*ann.messages]
    assert escalated(ann)
    assert escalated(bob)
    assert stuck(ann)
    assert stuck(bob)
    assert escalated(ann)
    assert kept(bob)
    assert stuck(ann)


def test_two_conversations_that_begin_alike_are_two(scene: Stage) -> None:
    opening = named({})
    one, two = Talker(scene, **opening), Talker(scene, **opening)
    two.messages = [*one.messages]
    assert kept(one, "hi")
    assert kept(two, "hi")
    assert kept(one, "one")
    assert kept(two, "two")
    assert escalated(one)
    assert kept(two)
    assert stuck(one)
    assert kept(two)


def test_examples_in_a_prompt_are_no_earlier_turns(scene: Stage) -> None:
    examples = named({})
    shown: list[ChatCompletionMessageParam] = [
        *examples["messages"],
        {"role": "user", "content": "an example"},
        {"role": "assistant", "content": "Paris."},
    ]
    for _ in range(2):
        assert escalated(Talker(scene, messages=[*shown]))
        assert kept(Talker(scene, messages=[*shown]))


def test_one_cache_key_may_be_that_of_several_conversations(scene: Stage) -> None:
    key = {"prompt_cache_key": next(_sessions)}
    one, two = Talker(scene, fields=key), Talker(scene, fields=key)
    assert kept(one, "of one thing")
    assert kept(two, "of another")
    assert escalated(one)
    assert kept(two)
    assert stuck(one)


def test_tools_are_part_of_a_conversation(scene: Stage) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    message = {"content": None, "tool_calls": [call]}
    choice = {"finish_reason": "tool_calls"}
    scene.student.reply = Reply(status=500)
    scene.teacher.reply = Reply(body=completion(None, message=message, choice=choice))
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    asked: dict[str, Any] = {"model": "assistant", "tools": [tool]}
    asked["messages"] = [{"role": "user", "content": next(_sessions)}]
    headers = {"authorization": "Bearer ann"}
    scene.client.post("/v1/chat/completions", json=asked, headers=headers)
    answer = {"role": "assistant", "content": "", "tool_calls": [call]}
    asked["messages"] += [answer, {"role": "tool", "tool_call_id": "c", "content": "seen"}]
    response = scene.client.post("/v1/chat/completions", json=asked, headers=headers)
    assert response.headers["x-understudy-reason"] == "sticky"
    for model in scene.gateway.models:
        model.breaker.succeeded()


def in_messages(messages: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Anthropic's form, with marks of a cache that move from turn to turn."""
    marked = [{**one} for one in messages]
    said = {"type": "text", "text": marked[-1]["content"], "cache_control": {"type": "ephemeral"}}
    marked[-1]["content"] = [said]
    return "/v1/messages", {"messages": marked, "max_tokens": 50}


def in_responses(messages: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return "/v1/responses", {"input": messages, "instructions": "Be brief."}


@pytest.mark.parametrize("form", [in_messages, in_responses])
def test_conversation_is_known_by_its_words_in_other_protocols_too(
    scene: Stage, form: Callable[[list[dict[str, Any]]], tuple[str, dict[str, Any]]]
) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": next(_sessions)}]
    reasons = []
    for text in (EASY, HARD, EASY):
        messages[-1]["content"] += f" {text}"
        path, body = form(messages)
        headers = {"authorization": "Bearer ann"}
        response = scene.client.post(path, json={"model": "assistant", **body}, headers=headers)
        reasons.append(response.headers["x-understudy-reason"])
        said = "Rome." if response.headers["x-understudy-served-by"] == "student" else "Paris."
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": ""}]
    assert reasons == ["confident", "low_confidence", "sticky"]


def test_conversation_of_many_words_is_known_too(scene: Stage) -> None:
    talker = Talker(scene, **named({}))
    assert kept(talker, "many words " * 10_000)  # so many are read in a thread
    assert escalated(talker)
    assert stuck(talker)


@pytest.mark.parametrize(
    ("model", "headers"),
    [("talking", None), ("talking-again", {"x-understudy-handover": "restart"})],
)
def test_answer_of_two_models_is_known_as_the_client_has_it(
    lone_trial: Trial, model: str, headers: dict[str, str] | None
) -> None:
    trial = lone_trial
    trial.upstream("talking", Role.TEACHER).can_continue = True
    sure, doubted = words(16), [*words(15, "d"), "d15. "]
    parts = Words(sure, is_counted=True), Words(doubted, HOPELESS, is_counted=True)
    trial.student_says(ROLE, *parts, Until(trial.event()))
    trial.teacher_says(*whole([" t", "."]))
    asked = [{"role": "user", "content": next(_sessions)}]
    listener = trial.ask(model, headers=headers, messages=asked).whole()
    text = listener.text
    if headers is None:
        assert text == joined(sure, doubted) + "t."
    else:
        text = " t."  # the client has thrown away what came before
    assert listener.said["reason"] == "late_doubt"
    answer = {"role": "assistant", "content": text}
    following = [*asked, answer, {"role": "user", "content": "and?"}]
    assert trial.ask(model, messages=following).whole().said["reason"] == "sticky"


@pytest.mark.parametrize("is_stream", [False, True])
def test_draft_is_served_where_the_teacher_fails_a_conversation(
    scene: Stage, is_stream: bool
) -> None:
    talker = Talker(scene, is_stream=is_stream, **named(NAMES[0]))
    assert escalated(talker)
    scene.teacher.reply = Reply(status=500)
    assert talker.says(EASY) == ("student", "sticky")
    assert scene.metric("understudy_degraded_total", cascade="assistant", degraded="teacher_failed")
    for model in scene.gateway.models:
        model.breaker.succeeded()


def test_pair_says_what_the_conversation_came_to(scene: Stage) -> None:
    talker = Talker(scene, **named(NAMES[0]))
    assert kept(talker)
    before = len(scene.pairs())
    assert escalated(talker)
    assert stuck(talker)
    assert escalated(talker)
    hard, sticky, later = [valid_pair(line) for line in scene.pairs()[before:]]
    assert hard["signals"]["earlier_kept"] == 2 / 3
    assert (sticky["reason"], sticky["signals"]) == ("sticky", {})
    assert later["signals"]["earlier_kept"] == 2 / 4  # nobody judged the turn that stayed


def test_what_each_model_has_read_is_remembered(scene: Stage) -> None:
    talker = Talker(scene, **named(NAMES[0]))
    talks = scene.gateway.context.served["assistant"].talks
    assert talks is not None
    name = talker.headers["x-session-id"].encode()
    conversation, read = id_of_name(talks.whose("ann"), Naming.SESSION, name), []
    for says in (kept, escalated, stuck, kept):
        assert says(talker)
        talk = talks.begin(conversation, time.monotonic()).talk
        read.append((talk.student_read, talk.teacher_read))
    # Of 100 tokens of input and 10 of output: a draft that nobody got is in no later prompt.
    assert read == [(110, 0), (100, 110), (100, 110), (110, 110)]


def test_cascade_without_sticky_turns_remembers_nothing(scene: Stage) -> None:
    talker = Talker(scene, model="plain", **named(NAMES[0]))
    before = len(scene.pairs())
    assert kept(talker)
    assert escalated(talker)
    assert kept(talker)
    (pair,) = [json.loads(line)["pair"] for line in scene.pairs()[before:]]
    assert "earlier_kept" not in pair["signals"]
    page = scene.gateway.context.observer.metrics.exposition().decode()
    assert 'understudy_conversation_turns_total{cascade="plain"' not in page


def test_metrics_count_turns(scene: Stage) -> None:
    def counts() -> list[float]:
        name, of = "understudy_conversation_turns_total", {"cascade": "assistant"}
        by = [scene.metric(name, served_by=role, **of) for role in ("student", "teacher")]
        return [*by, scene.metric("understudy_conversation_sticky_turns_total", **of)]

    before, talker = counts(), Talker(scene, **named(NAMES[0]))
    assert kept(talker)
    assert escalated(talker)
    assert stuck(talker)
    after = [now - then for now, then in zip(counts(), before, strict=True)]
    assert after == [1, 2, 1]
    assert scene.metric("understudy_conversation_remembered", cascade="assistant") > 0


# --- replicas ---


@dataclass(frozen=True)
class Pair:
    """Two gateways with the same models and the same store."""

    here: Stage
    there: Stage
    store: StoreServer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with ExitStack() as stack:
        store = stack.enter_context(store_server(tmp_path_factory.mktemp("store")))
        urls: dict[str, Any] = {}
        for role, reply in (("student", student), ("teacher", teacher)):
            model = ScriptedModel()
            model.reply = reply
            urls[f"{role}_url"] = stack.enter_context(serving(model))
        here, there = [
            stack.enter_context(
                stage(folder, cascade=STICKY, settings=keyed(folder, redis_url=store.url), **urls)
            )
            for folder in (tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there"))
        ]
        yield Pair(here, there, store)


@pytest.mark.parametrize("name", [NAMES[0], NAMES[3]], ids=["session", "words"])
def test_replicas_learn_of_each_others_escalations(pair: Pair, name: dict[str, Any]) -> None:
    talker = Talker(pair.here, **named(name))
    talks, clock = pair.there.gateway.context.served["assistant"].talks, time.monotonic
    assert talks is not None
    before, since = talks.count(clock()), clock()
    assert escalated(talker)
    wait_until(lambda: talks.count(clock()) > before)
    assert clock() - since < 2.0
    talker.scene = pair.there
    assert stuck(talker)


def test_what_replicas_tell_each_other_holds_no_word_of_a_conversation(pair: Pair) -> None:
    secret = next(_sessions)
    with pair.store.client() as client:
        before = client.xlen(turns_key("assistant"))
        assert kept(Talker(pair.here, headers={"x-session-id": secret}), f"{EASY} {secret}")
        wait_until(lambda: client.xlen(turns_key("assistant")) > before)
        (entry, *_) = client.xrevrange(turns_key("assistant"))
    assert set(entry[1]) == {b"replica", b"version", b"turns"}
    assert secret.encode() not in repr(entry).encode()


def test_replica_goes_on_by_itself_while_the_store_is_away(pair: Pair) -> None:
    pair.store.stop()
    try:
        talker = Talker(pair.here, **named(NAMES[0]))
        assert escalated(talker)
        assert stuck(talker)
        assert escalated(talker)
    finally:
        pair.store.start()
    talks, clock = pair.there.gateway.context.served["assistant"].talks, time.monotonic
    assert talks is not None
    before = talks.count(clock())
    wait_until(lambda: talks.count(clock()) > before)  # it is told of once the store is back
    talker.scene = pair.there
    assert stuck(talker)
