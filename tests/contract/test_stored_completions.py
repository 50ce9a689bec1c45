"""What clients had stored, read again by the official client: a gateway process, a real Valkey."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.fakes.chunks import chunk
from tests.fakes.script import Raw, Words, finish
from tests.fakes.serving import serving, wait_until
from tests.fakes.upstream import SURE, UNSURE, Reply, ScriptedModel, completion
from tests.fakes.valkey import store_server
from tests.wire_server.process import GatewayProcess, gateway_process

KEYS: dict[str, dict[str, Any]] = {
    "one": {},
    "two": {},
    "silent": {"may_store": False},
    "first-of-pair": {"tenant": "pair"},
    "second-of-pair": {"tenant": "pair", "models": ["assistant"]},
    "third-of-pair": {"tenant": "pair", "models": ["another"]},
}
STORED = {"stored": {"enabled": True}}
_numbers = itertools.count()


def answered(text: str, sure: float) -> Reply:
    """A reply with an id of its own."""
    name = f"chatcmpl-{next(_numbers)}"
    role = Raw(chunk({"role": "assistant", "content": ""}, id=name))
    steps = [role, Words([text], sure), *finish()]
    return Reply(body=completion(text, sure, id=name), steps=steps)


def student(request: Mapping[str, Any]) -> Reply:
    is_hard = "hard" in str(request["messages"])
    return answered("Rome?" if is_hard else "Paris.", UNSURE if is_hard else SURE)


@dataclass
class Scene:
    gateway: GatewayProcess
    clients: dict[str, openai.OpenAI] = field(default_factory=dict)

    def client(self, key: str = "one") -> openai.OpenAI:
        if key not in self.clients:
            url = self.gateway.url + "/v1"
            self.clients[key] = openai.OpenAI(base_url=url, api_key=f"sk-{key}", max_retries=0)
        return self.clients[key]

    def ask(self, text: str, key: str = "one", **more: Any) -> str:
        """Have an answer stored; gives its id once it can be read."""
        asked: list[Any] = [{"role": "user", "content": text}]
        answer = self.client(key).chat.completions.create(
            model="assistant", messages=asked, store=True, **more
        )
        identity = answer.id if hasattr(answer, "id") else {chunk.id for chunk in answer}.pop()
        wait_until(lambda: self.read(identity, key) is not None)
        return str(identity)

    def read(self, identity: str, key: str = "one") -> Any:
        try:
            return self.client(key).chat.completions.retrieve(identity)
        except openai.NotFoundError:
            return None


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("stored")
    (folder / "store").mkdir()
    keys = [
        {"name": name, "sha256": hashlib.sha256(f"sk-{name}".encode()).hexdigest(), **more}
        for name, more in KEYS.items()
    ]
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": keys}))
    models = ScriptedModel(), ScriptedModel()
    models[0].reply, models[1].reply = student, lambda _: answered("Paris, of course.", SURE)
    with (
        store_server(folder / "store") as store,
        serving(models[0]) as student_url,
        serving(models[1]) as teacher_url,
        gateway_process(
            folder,
            student_url,
            teacher_url,
            STORED,
            UNDERSTUDY_REDIS_URL=store.url,
            UNDERSTUDY_KEYS_FILE=str(folder / "keys.yaml"),
        ) as gateway,
    ):
        scene = Scene(gateway)
        yield scene
        for client in scene.clients.values():
            client.close()


def test_an_answer_that_was_kept_is_retrieved_as_the_client_got_it(scene: Scene) -> None:
    client = scene.client()
    got = client.chat.completions.create(
        model="assistant",
        messages=[{"role": "user", "content": "easy"}],
        store=True,
        metadata={"team": "search"},
        temperature=0.5,
    )
    wait_until(lambda: scene.read(got.id) is not None)
    again = client.chat.completions.retrieve(got.id)
    told = again.model_dump()
    before = got.model_dump(exclude={"metadata"})
    assert {name: told[name] for name in before} == before
    assert (told["metadata"], told["temperature"], told["tools"]) == ({"team": "search"}, 0.5, None)
    assert told["request_id"] == got._request_id
    assert told["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("text", ["easy", "hard"])
def test_kept_and_escalated_answers_are_stored_streamed_or_not(
    scene: Scene, text: str, is_stream: bool
) -> None:
    identity = scene.ask(text, stream=is_stream)
    stored = scene.read(identity)
    assert stored.object == "chat.completion"
    assert stored.model == "assistant"
    (choice,) = stored.choices
    assert choice.message.content == ("Paris." if text == "easy" else "Paris, of course.")
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert stored.usage.total_tokens == 110
    assert "understudy" not in stored.model_dump()


def test_log_probabilities_are_stored_where_the_client_asked(scene: Scene) -> None:
    for is_stream in (False, True):
        stored = scene.read(scene.ask("easy", logprobs=True, stream=is_stream))
        (token,) = stored.choices[0].logprobs.content
        assert (token.token, token.top_logprobs) == ("Paris.", [])


def test_lists_are_paged_filtered_and_in_either_order(scene: Scene) -> None:
    client = scene.client("two")
    assert client.chat.completions.list().data == []
    texts = ["a", "hard b", "c", "d", "e"]
    ids = [scene.ask(text, "two", metadata={"n": str(n % 2)}) for n, text in enumerate(texts)]
    listed = client.chat.completions.list
    assert [each.id for each in listed(limit=2)] == ids  # the client turns the pages
    assert [each.id for each in listed(limit=2, order="desc")] == ids[::-1]
    assert [each.id for each in listed(metadata={"n": "1"}, limit=1)] == ids[1::2]
    assert [each.id for each in listed(model="assistant", after=ids[3])] == ids[4:]
    assert listed(model="nobody").data == []
    raw = client.chat.completions.with_raw_response.list(limit=2).http_response.json()
    assert (raw["object"], raw["first_id"], raw["last_id"], raw["has_more"]) == (
        "list", ids[0], ids[1], True,
    )  # fmt: skip
    for each in listed(limit=2):
        client.chat.completions.delete(each.id)  # and goes on behind one that is gone
    assert listed().data == []


def test_metadata_is_replaced_as_a_whole(scene: Scene) -> None:
    client = scene.client()
    identity = scene.ask("easy", metadata={"a": "1", "b": "2"})
    updated = client.chat.completions.update(identity, metadata={"b": "3"})
    assert updated.model_dump()["metadata"] == {"b": "3"}
    assert scene.read(identity).model_dump() == updated.model_dump()
    assert client.chat.completions.update(identity, metadata=None).model_dump()["metadata"] == {}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.update(identity, metadata={"k" * 65: "x"})
    assert refused.value.param == "metadata"


def test_messages_are_listed_with_ids_of_their_own(scene: Scene) -> None:
    client = scene.client()
    parts: list[Any] = [{"type": "text", "text": "Capital?"}]
    asked: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "ann", "content": parts},
    ]
    got = client.chat.completions.create(model="assistant", messages=asked, store=True)
    wait_until(lambda: scene.read(got.id) is not None)
    pages = client.chat.completions.messages.list(got.id, limit=1)
    first, second = (each.model_dump(exclude_unset=True) for each in pages)
    assert (first["id"], first["content"], first["name"]) == (f"{got.id}-0", "Be brief.", None)
    assert (second["id"], second["content"], second["name"]) == (f"{got.id}-1", None, "ann")
    assert second["content_parts"] == parts
    backwards = client.chat.completions.messages.list(got.id, order="desc")
    assert [each.id for each in backwards] == [f"{got.id}-1", f"{got.id}-0"]


def test_what_is_deleted_is_gone(scene: Scene) -> None:
    client = scene.client()
    identity = scene.ask("easy")
    told = client.chat.completions.delete(identity)
    assert told.model_dump() == {
        "id": identity, "deleted": True, "object": "chat.completion.deleted",
    }  # fmt: skip
    for again in (
        client.chat.completions.delete,
        client.chat.completions.retrieve,
        client.chat.completions.messages.list,
    ):
        with pytest.raises(openai.NotFoundError):
            again(identity)


def test_no_tenant_meets_what_is_anothers(scene: Scene) -> None:
    identity = scene.ask("easy", "one")
    other = scene.client("two").chat.completions
    for attempt in (
        lambda: other.retrieve(identity),
        lambda: other.update(identity, metadata={}),
        lambda: other.delete(identity),
        lambda: other.messages.list(identity),
        lambda: other.list(after=identity),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    assert identity not in [each.id for each in other.list(limit=100)]
    assert scene.read(identity, "one") is not None
    with pytest.raises(openai.AuthenticationError):
        scene.client("nobody").chat.completions.retrieve(identity)


def test_nothing_is_stored_of_a_tenant_who_does_not_want_it(scene: Scene) -> None:
    client = scene.client("silent")
    asked: list[Any] = [{"role": "user", "content": "easy"}]
    client.chat.completions.create(model="assistant", messages=asked, store=True)
    client.chat.completions.create(model="assistant", messages=asked)
    scene.ask("easy")  # whatever was written before it is read by now
    assert client.chat.completions.list().data == []


@pytest.mark.parametrize(
    "metadata",
    [{f"k{n}": "v" for n in range(17)}, {"k" * 65: "v"}, {"k": "v" * 513}, {"k": 1}, ["k"]],
    ids=["pairs", "key", "value", "number", "list"],
)
def test_metadata_has_openais_bounds(scene: Scene, metadata: Any) -> None:
    asked: list[Any] = [{"role": "user", "content": "easy"}]
    with pytest.raises(openai.BadRequestError) as refused:
        scene.client().chat.completions.create(
            model="assistant", messages=asked, store=True, metadata=metadata
        )
    assert refused.value.param == "metadata"


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"),
     ("order=asc&order=asc", "order"), ("&".join(f"f{n}=1" for n in range(65)), None),
     ("&".join(f"metadata[{n}]=1" for n in range(17)), "metadata"), ("after=%00", "after")],
)  # fmt: skip
def test_a_list_that_cannot_be_is_refused(scene: Scene, query: str, param: str | None) -> None:
    response = httpx.get(
        f"{scene.gateway.url}/v1/chat/completions?{query}",
        headers={"authorization": "Bearer sk-one"},
        trust_env=False,
    )
    assert response.status_code == (404 if param == "after" else 400)
    assert response.json()["error"]["param"] == param


def test_keys_of_one_tenant_share_what_it_has_as_far_as_its_cascade_exists_for_them(
    scene: Scene,
) -> None:
    identity = scene.ask("easy", "first-of-pair")
    assert scene.read(identity, "second-of-pair") is not None
    assert scene.read(identity, "third-of-pair") is None
    listed = scene.client("third-of-pair").chat.completions.list()
    assert listed.data == []
