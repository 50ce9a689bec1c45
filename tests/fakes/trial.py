"""One streamed request on the stage that many tests share: what is asked, heard, told and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from openai.types.chat import ChatCompletion

from gateway.facts import Leg, RequestSettled
from gateway.upstream.openai import OpenAIModel
from routing.baseline import Learner
from routing.breaker import Breaker
from routing.habits import Ratio
from routing.servers import Rest
from routing.vocabulary import Role
from tests.fakes.listener import PATIENCE_SECONDS, Listener, whole_answer
from tests.fakes.observer import RememberingObserver
from tests.fakes.pair_schema import valid_pair
from tests.fakes.script import Played, Step, whole
from tests.fakes.serving import Stage, server_of, wait_until
from tests.fakes.upstream import Reply, ScriptedModel

# A call that is to end at once ends within so many seconds, on a busy machine too: what would wait
# for something else waits for four at the least, or for ever.
AT_ONCE = 2.0

SURE, MIDDLING, UNSURE, HOPELESS = -0.01, -0.5, -3.0, -7.0
# What the default rule makes of an answer of such tokens: kept, deferred at the window's end, given
# up at the first checkpoint.  HOPELESS drags down an answer that was sure before.


def words(count: int, stem: str = "w") -> list[str]:
    """So many different words, each with a blank behind it."""
    return [f"{stem}{number} " for number in range(count)]


@dataclass
class Trial:
    """What one test does on the stage, and what came of it; numbers count from its beginning."""

    stage: Stage
    is_async: bool
    observer: RememberingObserver
    _pairs: int = 0
    _events: list[Event] = field(default_factory=list)
    _listeners: list[Listener] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what other tests did."""
        for model in (self.stage.student, self.stage.teacher):
            model.requests.clear()
            model.headers.clear()
            model.played.clear()
        self.stage.student.reply = self.stage.teacher.reply = Reply(steps=whole(words(3, "?")))
        for upstream in self.stage.gateway.models:
            upstream.breaker, upstream.rest = Breaker(), Rest()
        context = self.stage.gateway.context
        context.dice = lambda: 0.99
        context.served = {
            name: replace(served, learner=Learner()) for name, served in context.served.items()
        }
        for served in context.served.values():
            for taught in (served.cascade.student, served.cascade.teacher):
                taught.habits.read, taught.habits.wrote = Ratio(), Ratio()
        self._pairs = len(self.stage.pairs())

    def end(self) -> None:
        """Let all that still waits go on; no call and no task may be left behind."""
        for event in self._events:
            event.set()
        for listener in self._listeners:
            listener.join()
        context = self.stage.gateway.context
        wait_until(lambda: context.open_requests == 0)
        wait_until(lambda: not context.background)
        assert [model.open_calls for model in self.stage.gateway.models if model.open_calls] == []

    def event(self) -> Event:
        """An event that a model may wait for."""
        made = Event()
        self._events.append(made)
        return made

    def student_says(self, *steps: Step) -> None:
        """What the student streams."""
        self.stage.student.reply = Reply(steps=steps)

    def teacher_says(self, *steps: Step) -> None:
        """What the teacher streams."""
        self.stage.teacher.reply = Reply(steps=steps)

    def ask(
        self,
        model: str = "assistant",
        *,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE_SECONDS,
        **changes: Any,
    ) -> Listener:
        """Ask a cascade for a stream with the official client, and listen."""
        listener = Listener(
            self.stage.url,
            self.stage.question | {"model": model} | changes,
            is_async=self.is_async,
            headers=headers,
            patience=patience,
        )
        self._listeners.append(listener)
        return listener

    def answer(self, model: str = "assistant", **changes: Any) -> ChatCompletion:
        """Ask a cascade for a whole answer with the official client."""
        question = self.stage.question | {"model": model} | changes
        return whole_answer(self.stage.url, question, is_async=self.is_async)

    def read(self, model: str = "assistant", **changes: Any) -> str:
        """Ask for a stream, and give its bytes as they came."""
        return self.stage.ask(**{"model": model, "stream": True, **changes}).text

    def let_pass(self) -> None:
        """Return once the gateway has dealt with everything that reached it before."""
        for _ in range(2):
            assert self.stage.client.get("/health").status_code == 200

    def upstream(self, cascade: str, role: Role) -> OpenAIModel:
        """The gateway's end of a model's only server."""
        served = self.stage.gateway.context.served[cascade].cascade
        return server_of(served.student if role is Role.STUDENT else served.teacher)

    @property
    def drafted(self) -> Played:
        """The student's only stream."""
        return _only(self.stage.student)

    @property
    def taught(self) -> Played:
        """The teacher's only stream."""
        return _only(self.stage.teacher)

    def wait_for_events(self, model: ScriptedModel, count: int) -> None:
        """Wait until a model's last stream has sent so many events, and the gateway has them."""
        wait_until(lambda: model.played and model.played[-1].events >= count)
        self.let_pass()

    def wait_for_left(self, played: Played, since: float) -> None:
        """Fail unless a model's reader left within AT_ONCE of a time."""
        wait_until(lambda: played.left is not None)
        assert played.left is not None
        assert played.left - since < AT_ONCE

    @property
    def fact(self) -> RequestSettled:
        """What was told of the only request."""
        wait_until(lambda: self.observer.settled_facts)
        (fact,) = self.observer.settled_facts
        return fact

    @property
    def legs(self) -> list[tuple[str, str | None, int | None]]:
        """Role, error and output tokens of each call that the only request made."""
        return [_told(leg) for leg in self.fact.legs]

    @property
    def completed_legs(self) -> list[tuple[str, str | None, int | None]]:
        """The same of the calls that finished drafts off the path."""
        return [_told(fact.leg) for fact in self.observer.completed_facts]

    def pairs(self) -> list[dict[str, Any]]:
        """The pairs in the journal, each of the published form."""
        return [valid_pair(line) for line in self.stage.pairs()[self._pairs :]]

    def counted(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 where there is none."""
        return self.stage.metric(name, **labels)


def text_of(completion: Mapping[str, Any]) -> str:
    """The text of a chat completion."""
    content: str = completion["choices"][0]["message"]["content"]
    return content


def joined(*parts: Sequence[str]) -> str:
    """Lists of words as one text."""
    return "".join("".join(part) for part in parts)


def _only(model: ScriptedModel) -> Played:
    (played,) = model.played
    return played


def _told(leg: Leg) -> tuple[str, str | None, int | None]:
    return leg.role.value, leg.error, None if leg.usage is None else leg.usage.output
