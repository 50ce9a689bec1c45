"""What cascades answer: from bytes to bytes, around ``gateway/answer.py`` and its stream.

The pair is in the journal before the last byte of the answer leaves.  The facts are counted behind
it, for which no client has to wait.
"""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from gateway.answer import Answer, answer
from gateway.answer_stream import AnswerStream, Wishes
from gateway.api.account import Account
from gateway.api.arms import assign, leave
from gateway.api.context import Context, Served
from gateway.api.entering import enter, json_body, tenant_of, understood
from gateway.api.exchange import (
    ClientGone,
    Departure,
    header,
    headers_of,
    passing_on,
    reply_at_once,
    request_id,
    send_error,
    send_response,
)
from gateway.api.limited import reserve, settle_permit
from gateway.api.live import STATUS, EventSender, LiveAnswer, Ways, collect, tell
from gateway.api.shadows import conclude
from gateway.api.storing import recorded
from gateway.api.turns import begin_turn, end_turn
from gateway.api.wishes import find_cascade, refuse_foreign_ids, wish_of
from gateway.audits.after import learn
from gateway.errors import (
    GatewayError,
    InternalError,
    NotRecorded,
    ShuttingDown,
    UpstreamRefused,
)
from gateway.facts import Ending
from gateway.legs import Legs
from gateway.pairs import Rescue
from gateway.steering.after import report
from gateway.wire.chat import GROUP_HEADER, group_of
from gateway.wire.completion import Completion, read_completion
from gateway.wire.errors import status_of
from gateway.wire.prospect import samples_wanted
from gateway.wire.protocol import Asked, Wire
from gateway.wire.replay import CONTENT_TYPE
from routing.cascade import ServeDraft, as_served, settle
from routing.vocabulary import Degraded, Denied, Handover, Need, Role

CLIENT_GONE_STATUS = 499  # nobody receives it: nginx's number for a client that left
RESTART_HEADER = b"x-understudy-handover"
_GROUP = GROUP_HEADER.encode()


class Answering:
    """The route of one protocol, as an ASGI application."""

    def __init__(self, context: Context, wire: Wire) -> None:
        self._context = context
        self._wire = wire

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        return _Exchange(self._context, self._wire, scope, receive, send).run()


def _rescue(given: Answer, account: Account) -> Rescue:
    draft, taught, reason = given.draft, given.completion.body, account.reason
    if draft is None:
        return Rescue(None, is_draft_complete=False, answer=taught, reason=reason)
    propensity = account.propensity(is_draft_had=True)
    return Rescue(draft.body, True, taught, reason, propensity=propensity, samples=draft.samples)


def _whole_draft(stream: AnswerStream) -> Completion | None:
    draft = stream.course.draft
    return read_completion(draft.assembly.body()) if draft is not None and draft.is_whole else None


def _store(account: Account) -> None:
    """Have the answer in the journal, where it is to be stored, before it leaves."""
    if account.recording is not None:
        account.recording.leaving()


class _Exchange:
    """One request and its response."""

    def __init__(
        self, context: Context, wire: Wire, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._context = context
        self._wire = wire
        self._scope = scope
        self._receive = receive
        self._send = send
        self._asked: Asked | None = None
        self._events: EventSender | None = None
        self._account = Account(
            context=context,
            request_id=request_id(headers_of(scope), context.new_id()),
            started=context.clock(),
            legs=Legs(context.clock, trace=context.tracing.begin(scope["headers"])),
        )

    async def run(self) -> None:
        """Answer it, whatever happens."""
        context, account = self._context, self._account
        context.open_requests += 1
        try:
            asked, served = await self._admitted()
            await self._respond(asked, served)
        except ClientGone:
            account.settle(Ending.CANCELLED, CLIENT_GONE_STATUS)
        except GatewayError as error:
            await self._fail(error)
        except Exception:
            context.observer.log.exception("bug", request_id=account.request_id)
            await self._fail(InternalError("Internal error."))
        except asyncio.CancelledError:  # this process is stopping and has waited long enough
            await self._fail(ShuttingDown("The gateway is shutting down."), Ending.CANCELLED)
            raise
        finally:
            context.open_requests -= 1
            account.legs.trace.end(account.fact)
            leave(account)
            settle_permit(account)
            context.keys.end(account.tenant)
            end_turn(account)
            conclude(account)
            learn(account)
            report(account)
            self._events = None  # it leads back here: nothing is to wait for the collector

    async def _admitted(self) -> tuple[Asked, Served]:
        context, scope, account = self._context, self._scope, self._account
        headers = headers_of(scope)
        account.tenant = tenant_of(context, headers)
        enter(context, account.tenant)
        waiting_since = context.clock()
        body = await json_body(context, scope, self._receive)
        account.body_seconds = context.clock() - waiting_since
        group = group_of(headers.get(_GROUP))
        asked = self._asked = await understood(context, body, self._wire.read, group)
        chat = account.chat = asked.chat
        incumbent, named = find_cascade(context, account.tenant, chat)
        wish = wish_of(headers, chat, named, account.tenant)
        refuse_foreign_ids(chat, incumbent, wish)
        await context.aside.for_body(body, incumbent.admission.check, chat)
        if incumbent.is_remembering:
            await begin_turn(account, chat, incumbent, scope)
        if context.served.get(incumbent.cascade.name) is not incumbent:  # there is another by now
            incumbent, _ = find_cascade(context, account.tenant, chat)
        served = assign(account, chat, incumbent, scope, wish)
        asked = recorded(asked, account)
        allotment = context.limiter.allotment(account.tenant)
        if allotment is not None:
            await reserve(account, allotment, chat, served)
        account.admit()
        return asked, served

    async def _respond(self, asked: Asked, served: Served) -> None:
        # A stream of several choices is judged by its weakest, and one of several drafts by all of
        # them, which are known in the end only.
        cascade, chat = served.cascade, asked.chat
        samples = samples_wanted(chat, cascade.sampling, cascade.samples.count)
        is_alone = chat.choices == samples == 1
        can_stream = is_alone and (chat.is_stream or cascade.streaming.is_early_abort)
        if can_stream:
            try:
                await self._respond_streaming(asked, served)
                return
            except UpstreamRefused:
                # llama.cpp does not stream log-probabilities beside tools; whole it has both.
                is_out = self._events is not None and self._events.is_started
                is_students = self._account.legs.made[-1].role is Role.STUDENT
                if is_out or not is_students or Need.TOOLS not in chat.needs:
                    raise
        await self._respond_whole(asked, served)

    async def _respond_whole(self, asked: Asked, served: Served) -> None:
        """One answer that is judged whole; where a stream was asked for, it is sent as one then."""
        if asked.chat.is_stream:
            await self._send_stream(served, lambda _: self._replayed(asked, served))
            return
        with Departure(self._scope, self._receive):
            given = await answer(asked.chat, served.cascade, self._account.legs)
        completion = await self._record(given, served)
        await self._send_whole(asked.whole(completion))

    async def _respond_streaming(self, asked: Asked, served: Served) -> None:
        account, chat = self._account, asked.chat
        wishes = Wishes(
            is_live=chat.is_stream,
            is_restart_wanted=chat.is_stream
            and asked.can_restart
            and header(self._scope, RESTART_HEADER) == Handover.RESTART,
            is_completed=account.complete_drafts > self._context.dice(),
        )
        stream = AnswerStream(chat, served.cascade, account.legs, wishes)
        account.course = stream.course
        try:
            if chat.is_stream:
                await self._send_stream(served, LiveAnswer(account, asked, stream).relay)
            else:
                with Departure(self._scope, self._receive):
                    whole = await collect(stream)
                body = asked.whole(read_completion(whole.body()))
                try:
                    await tell(account, stream)
                except NotRecorded as loss:
                    draft = self._draft_instead(_whole_draft(stream), served, loss)
                    body = asked.whole(draft)
                await self._send_whole(body)
        finally:
            stream.close()

    async def _send_stream(
        self, served: Served, write: Callable[[EventSender], Awaitable[bytes]]
    ) -> None:
        """Send what ``write`` sends, and then the end, which it returns, while the client stays."""
        seconds = served.cascade.streaming.keepalive_seconds
        departure = Departure(self._scope, self._receive)
        ways = Ways(self._send, passing_on(self._scope, self._send))
        events = self._events = EventSender(ways, self._stream_headers, seconds, departure.give_up)
        try:
            with departure:
                last = await write(events)
                await events.send(last, is_last=True)
        finally:
            events.close()

    async def _replayed(self, asked: Asked, served: Served) -> bytes:
        """The whole answer as events.  Meanwhile comments may go out, and with them the headers."""
        account = self._account
        given = await answer(asked.chat, served.cascade, account.legs)
        completion = await self._record(given, served)
        events = b"".join(asked.replay(completion, account.trailer()))
        _store(account)
        account.settle(account.ending, STATUS)
        return events

    async def _record(self, given: Answer, served: Served) -> Completion:
        """Note who answered, and write the pair; gives what is to be served."""
        account, course = self._account, self._account.course
        account.given = given
        course.served_by, course.degraded = given.served_by, given.degraded
        if given.served_by is Role.TEACHER:
            try:
                account.insist_on(await account.log_pair(_rescue(given, account)))
            except NotRecorded as loss:
                return self._draft_instead(given.draft, served, loss)
        return given.completion

    def _draft_instead(
        self, draft: Completion | None, served: Served, loss: NotRecorded
    ) -> Completion:
        """What is served of an escalation whose pair is lost: settled once more, as denied."""
        account, course = self._account, self._account.course
        verdict, grant = account.legs.verdict, Denied(Degraded.JOURNAL_FULL)
        if draft is None or verdict is None:
            raise loss
        outcome = settle(verdict, grant, served.cascade.when_denied)  # pure
        if not isinstance(outcome, ServeDraft):
            raise loss
        course.served_by, course.degraded = Role.STUDENT, outcome.degraded
        account.legs.verdict = as_served(verdict)  # pure
        return draft

    async def _send_whole(self, body: bytes) -> None:
        """Send an answer, and settle the request: first of all where its client reads slowly."""
        account = self._account
        headers = {"content-type": "application/json"} | account.headers()
        account.add_cost(headers)
        _store(account)
        is_written = reply_at_once(self._scope, self._send, STATUS, headers, body)
        account.settle(account.ending, STATUS)
        if not is_written:
            await send_response(self._send, STATUS, headers, body)

    def _stream_headers(self) -> dict[str, str]:
        fixed = {
            "content-type": CONTENT_TYPE,
            "cache-control": "no-cache",
            "x-accel-buffering": "no",  # nginx would collect events before it passes them on
        }
        headers = fixed | self._account.headers()
        if self._account.is_settled:  # judged whole before the first byte: nothing is open
            self._account.add_cost(headers)
        return headers

    async def _fail(self, error: GatewayError, ending: Ending | None = None) -> None:
        """Tell client and operator that the request failed; what is out cannot be taken back."""
        account, asked, events = self._account, self._asked, self._events
        if asked is not None and error.param is not None:
            error.rename(asked.client_param(error.param))
        is_out = events is not None and events.is_started
        status = STATUS if is_out else status_of(error)
        if not is_out:
            account.course.served_by = None  # whatever it was, the client does not get it
        if ending is None:
            account.settle_with(error, status)
        else:
            account.settle(ending, status, error.code)
        if asked is not None and events is not None and is_out:
            await events.write_last(asked.error_event(error, account.request_id))
        else:
            await send_error(self._send, self._wire, error, account.request_id)
