"""Asks a model server which models it has; its answer's head tells of its clock too."""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.roots import root_of, words_of
from understudy.doctor.clocks import Drift, drift_by_date
from understudy.doctor.findings import Cause, Fault

_BUSY = 429
_KEY = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Listing:
    """The models of a server with the context length of each, None where it does not say."""

    models: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The server is there and has no list of models to show.

    ``is_about_key``: because of the key, or for want of one.
    """

    saw: str
    is_about_key: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What a server said of itself; ``drift`` of its clock, None where its answer has no date."""

    listing: Listing | Unlisted
    drift: Drift | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """How a server is asked: for so many seconds at most, with this clock beside it."""

    seconds: float
    epoch: Callable[[], float]

    async def ask(self, base_url: str, key: str | None) -> Told | Fault:
        """Its models; a Fault where it cannot be reached, or is not ready."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        sent = self.epoch()
        try:
            async with httpx.AsyncClient(
                timeout=self.seconds, trust_env=False, verify=_trusted_for(base_url)
            ) as client:
                response = await client.get(base_url.rstrip("/") + "/models", headers=headers)
        except httpx.HTTPError as error:
            return fault_of_connection(error)
        drift = drift_by_date(response.headers.get("date"), sent, self.epoch())
        status = response.status_code
        if status == _BUSY or status >= 500:
            advice = "it is starting, or has too much to do: ask again in a while"
            return Fault(f"is not ready (status {status})", advice, Cause.AWAY)
        if status != 200:
            unlisted = Unlisted(f"lists no models (status {status})", status in _KEY)
            return Told(unlisted, drift)
        models = _models(response)
        return Told(Unlisted("lists no models") if models is None else Listing(models), drift)


def _trusted_for(base_url: str) -> ssl.SSLContext | bool:
    """As the gateway's: what this machine trusts.  It takes a while to read, so not for http."""
    return ssl.create_default_context() if base_url.startswith("https:") else False


def fault_of_connection(error: BaseException) -> Fault:
    """What to say of a connection that was not made, or broke.

    A name that nobody knows may be one of a server that is down, whose name went with it.
    """
    root = root_of(error)
    words = words_of(root) or str(root) or type(error).__name__
    cause = Cause.BROKEN if isinstance(root, ssl.SSLError) else Cause.AWAY
    return Fault(f"not reached: {words}", _advice_on(root), cause)


def _advice_on(root: BaseException) -> str:
    match root:
        case ssl.SSLCertVerificationError():
            return (
                "mend its certificate or the host in its URL, or have this machine trust who "
                "issued it: SSL_CERT_FILE names a file of such certificates"
            )
        case ssl.SSLError():
            return "what listens there speaks no TLS: say http:// in its URL, or mend its port"
        case socket.gaierror():
            return "no such host is known here: mend its URL, or this machine's name service"
        case ConnectionRefusedError():
            return "nothing listens there: start it, or mend host and port of its URL"
        case TimeoutError():
            return (
                "mend its URL, look for a firewall or a NetworkPolicy in between, "
                "or give it more --timeout"
            )
        case _:
            return "start it, or mend its URL: is it the right scheme, with TLS or without?"


def _models(response: httpx.Response) -> dict[str, int | None] | None:
    """The names of the models, None where the body has none to read."""
    try:
        entries = response.json()["data"]
        lengths = {str(entry["id"]): _length(entry) for entry in entries}
        # An adapter's context is that of the model beneath it.
        for entry in entries:
            name, parent = str(entry["id"]), entry.get("parent")
            if lengths[name] is None and parent is not None:
                lengths[name] = lengths.get(str(parent))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return lengths


def _length(entry: dict[str, Any]) -> int | None:
    """The context length: vLLM says it so, llama.cpp's server so."""
    meta = entry.get("meta")
    found = entry.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return found if isinstance(found, int) else None
