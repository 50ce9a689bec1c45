"""Which answers are stored for their clients to read again, and how they get into the journal."""

import msgspec

from gateway.api.account import Account
from gateway.api.recording import Recording
from gateway.ports import Fate, StreamKind
from gateway.stored import NotStorable, Stamp, stored_record
from gateway.wire.chat_wire import AskedChat
from gateway.wire.protocol import Asked
from gateway.wire.stored import metadata_of

_TRUE = msgspec.Raw(b"true")


def recorded(asked: Asked, account: Account) -> Asked:
    """The request as it came, or such that its answer is stored.

    That takes a client that asks for it, in OpenAI's chat completions, a cascade that stores, and
    a tenant of whose requests something may be kept.  Raises RequestError for wrong metadata.
    """
    served, tenant = account.served, account.tenant
    if not isinstance(asked, AskedChat) or asked.chat.fields.get("store") != _TRUE:
        return asked
    if served is None or not served.is_keeping_completions:
        return asked
    if tenant is not None and not tenant.may_store:
        return asked
    metadata = metadata_of(asked.chat.fields.get("metadata"))
    name, context, chat = served.cascade.name, account.context, asked.chat

    def write(completion: bytes) -> None:
        owner = None if tenant is None else tenant.name
        stamp = Stamp(owner, account.request_id, context.epoch())
        try:
            record = stored_record(chat, metadata, completion, stamp, served.safekeeping)
        except NotStorable as error:
            context.observer.completions_became(name, Fate.LOST, error.cause)
        else:
            context.pairs.append(name, record, kind=StreamKind.STORED)

    account.recording = Recording(asked, write)
    return account.recording
