"""What a cascade, or a named model, takes of a request: sections ``admission`` and ``media``."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from gateway.sections import Section
from gateway.wire.bounds import Bounds
from gateway.wire.chat import MAX_CHOICES
from gateway.wire.media import MediaRules

_DEFAULT = Bounds()
_Count = Annotated[int, Strict(), Field(ge=1)]
# A name, an address of IPv4, or ``*.`` and the end of names; perhaps with a port.
_HOST = re.compile(
    r"(?:\*\.(?=[a-z0-9.-]*[a-z][a-z0-9-]*(?::|\Z)))?"
    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
    r"(?::[1-9][0-9]{0,4})?"
)


def _media_host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError(
            "must be a host such as images.example.com, or *.example.com for all below it, in "
            "lower case, with :PORT where it is not the scheme's own"
        )
    return host


class AdmissionConfig(Section):
    """The most that a request may come with, and how many answers, how long, it may ask for.

    ``max_parts`` counts the content parts of all messages, ``max_tokens`` one answer's.
    """

    max_messages: _Count = _DEFAULT.messages
    max_parts: _Count = _DEFAULT.parts
    max_tools: _Count = _DEFAULT.tools
    max_choices: Annotated[_Count, Field(le=MAX_CHOICES)] = _DEFAULT.choices
    max_tokens: _Count = _DEFAULT.tokens

    def bounds(self) -> Bounds:
        """The same for whoever checks requests."""
        return Bounds(
            messages=self.max_messages,
            parts=self.max_parts,
            tools=self.max_tools,
            choices=self.max_choices,
            tokens=self.max_tokens,
        )


class MediaConfig(Section):
    """Which URLs of pictures, sounds and files model servers may be told to fetch.

    ``data`` is what comes with the request itself.  The others need ``hosts``.
    """

    schemes: frozenset[Literal["data", "https", "http"]] = frozenset({"data", "https"})
    hosts: frozenset[Annotated[str, AfterValidator(_media_host)]] = frozenset()

    def rules(self) -> MediaRules:
        """The same for whoever checks requests."""
        return MediaRules(frozenset(self.schemes), self.hosts)
