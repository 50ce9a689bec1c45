"""The fields of a reply that are the gateway's to write, as docs/endpoints.md lists them.

Each of these says what a client sees in place of what a model server wrote; all else has to be the
same.  Who documents a further field adds it here, and the other way round.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/endpoints.md"

Fields = dict[str, Any]
Asked = Mapping[str, Any]


def documented_fields() -> list[str]:
    """The first column of the table behind `These fields are the gateway's`."""
    _, _, after = PAGE.read_text().partition("These fields are the gateway's")
    table = after.strip(":\n").partition("\n\n")[0].splitlines()
    return [row.split("|")[1].strip() for row in table[2:]]


def _model(events: Sequence[Fields], asked: Asked) -> Sequence[Fields]:
    return [event | {"model": asked["model"]} for event in events]


def _logprobs(events: Sequence[Fields], asked: Asked) -> Sequence[Fields]:
    """A chat asks by a boolean and a number, a completion by a number."""
    wanted = asked.get("logprobs")
    is_asked = wanted is not None and wanted is not False
    most = asked.get("top_logprobs") or 0 if isinstance(wanted, bool) else wanted or 0
    texts = _Lists(most)
    told = []
    for event in events:
        choices = [_told(choice, most, texts, is_asked=is_asked) for choice in event["choices"]]
        told.append(event | {"choices": choices})
    return told


def _told(choice: Fields, most: int, texts: "_Lists", *, is_asked: bool) -> Fields:
    told = choice.get("logprobs") if is_asked else None
    if told is None:
        # A whole answer and a text have it even where the server left it out, as OpenAI's do.
        is_said = bool({"logprobs", "message", "text"} & choice.keys())
        return choice | {"logprobs": None} if is_said else choice
    if "text" in choice:
        return choice | {"logprobs": texts.of(told, choice["index"])}
    entries = [
        entry | {"top_logprobs": entry["top_logprobs"][:most]} for entry in told["content"] or ()
    ]
    return choice | {"logprobs": told | {"content": entries}}


class _Lists:
    """OpenAI's four lists, in which vLLM tells and llama.cpp does not, with so many candidates."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._offsets: dict[int, int] = {}

    def of(self, told: Fields, index: int) -> Fields:
        if "content" in told:
            tokens = [(entry["token"], entry["logprob"]) for entry in told["content"]]
            tops = [
                {top["token"]: top["logprob"] for top in entry["top_logprobs"]}
                for entry in told["content"]
            ]
        else:
            tokens = list(zip(told["tokens"], told["token_logprobs"], strict=True))
            tops = told["top_logprobs"]
        offsets = []
        for token, _ in tokens:
            offsets.append(self._offsets.setdefault(index, 0))
            self._offsets[index] += len(token)
        return {
            "text_offset": offsets,
            "token_logprobs": [logprob for _, logprob in tokens],
            "tokens": [token for token, _ in tokens],
            "top_logprobs": [
                dict([token, *sorted(top.items(), key=lambda one: -one[1])[: self._most]])
                for token, top in zip(tokens, tops, strict=True)
            ],
        }


def _streamed_usage(events: Sequence[Fields], asked: Asked) -> Sequence[Fields]:
    """Null in all chunks but a last one without choices, and nowhere where nobody asked."""
    *_, last = [None, *(event["usage"] for event in events if event.get("usage"))]
    bare = [{k: v for k, v in event.items() if k != "usage"} for event in events]
    if not (asked.get("stream_options") or {}).get("include_usage"):
        return [event for event in bare if event["choices"]]
    if bare[-1]["choices"]:  # a server that says it in its last chunk
        names = ("id", "created", "object", "model")
        bare.append({name: bare[-1][name] for name in names} | {"choices": []})
    return [*(event | {"usage": None} for event in bare[:-1]), bare[-1] | {"usage": last}]


def _nothing(events: Sequence[Fields], _: Asked) -> Sequence[Fields]:
    """It comes beside what the server wrote: a test takes it away and looks at it."""
    return events


Change = Callable[[Sequence[Fields], Asked], Sequence[Fields]]

WHOLE: Mapping[str, Change] = {
    "`model`": _model,
    "`logprobs`": _logprobs,
    "`usage` in streams": _nothing,
    "`understudy`": _nothing,
    "headers": _nothing,
}
STREAMED: Mapping[str, Change] = {**WHOLE, "`usage` in streams": _streamed_usage}


def whole_for_client(reply: Fields, asked: Asked) -> Fields:
    """The reply with what is the gateway's in it."""
    events: Sequence[Fields] = [reply]
    for change in WHOLE.values():
        events = change(events, asked)
    return events[0]


def stream_for_client(events: Sequence[Fields], asked: Asked) -> Sequence[Fields]:
    """The events with what is the gateway's in them."""
    for change in STREAMED.values():
        events = change(events, asked)
    return events


def is_documented_header(name: str) -> bool:
    """HTTP's own, and those that the page names."""
    own = ("content-type", "content-length", "transfer-encoding", "date", "server")
    told = r"x-request-id|x-understudy-[a-z-]+|cache-control|x-accel-buffering"
    return name in own or bool(re.fullmatch(told, name))
