"""A request for a response in the words of chat completions, and what is repeated of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway.errors import RequestError
from gateway.wire.chat import MAX_TOP_LOGPROBS, Chat, parse_chat
from gateway.wire.responses.items import Place, conversation_of
from gateway.wire.responses.naming import client_param
from gateway.wire.responses.parameters import ADAPTED, ECHOED, REFUSED, refuse_unsupported
from gateway.wire.responses.reading import Node, is_string, read_body, wrong

Fields = dict[str, object]

LOGPROBS = "message.output_text.logprobs"
# What can be asked to come along with a response.  All but the log-probabilities belong to tools
# that a server runs, or to reasoning that is hidden from the client, and there is neither here.
INCLUDABLE = frozenset(
    {LOGPROBS, "reasoning.encrypted_content", "message.input_image.image_url"}
    | {"file_search_call.results", "web_search_call.results", "web_search_call.action.sources"}
    | {"computer_call_output.output.image_url", "code_interpreter_call.outputs"}
)
TRUNCATIONS = frozenset({"auto", "disabled"})

# What a tool has in a response, said or not.
_TOOL: Mapping[str, object] = {"description": None, "parameters": None, "strict": None}
OWN = ADAPTED | ECHOED | frozenset(REFUSED) | {"n"}
CHOICES = frozenset({"auto", "none", "required"})
_count = msgspec.json.Decoder(int)
_text = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``chat`` is what it asks of a model, ``echo`` what the response says of it.

    ``places`` say where each message of the chat stands in the request.
    """

    chat: Chat
    echo: Mapping[str, object]
    places: Sequence[Place]


def parse_request(body: bytes, group: str | None = None) -> Request:
    """Understand a request body.  Raises RequestError, which names the client's own parameter."""
    request = read_body(body)
    refuse_unsupported(request)
    fields: Fields = {name: value for name, value in request.fields.items() if name not in OWN}
    conversation = conversation_of(request)
    fields["messages"] = conversation.messages
    tools = _tools(request)
    fields |= _tool_fields(request, tools)
    fields |= _text_fields(request) | _reasoning_fields(request)
    fields |= _logprobs_fields(request) | _stream_fields(request)
    most_tokens = request.raw("max_output_tokens")
    if most_tokens is not None:
        fields["max_completion_tokens"] = most_tokens
    if request.flag("store") is False:
        fields["store"] = False
    echo = _echo(request, tools)
    try:
        chat = parse_chat(msgspec.json.encode(fields), group)
    except RequestError as error:
        if error.param is not None:
            error.rename(client_param(error.param, conversation.places))
        raise
    return Request(chat, echo, conversation.places)


def _tools(request: Node) -> Sequence[Node]:
    tools = request.nodes("tools") or ()
    for tool in tools:
        kind = tool.needed_text("type")
        if kind != "function":
            place = tool.place_of("type")
            raise wrong(place, f"tools of type '{kind}' are not supported, only functions are")
    return tools


def _tool_fields(request: Node, tools: Sequence[Node]) -> Fields:
    """The tools that the model gets, and how it may choose among them."""
    choice, names = _tool_choice(request, tools)
    is_parallel = request.flag("parallel_tool_calls")
    if not tools:
        if choice not in (None, "auto", "none"):
            raise wrong("tool_choice", "there are no 'tools' to choose from")
        return {}
    functions = [{"type": "function", "function": _function(tool)} for tool in tools]
    if names is not None:
        functions = [
            function
            for function, tool in zip(functions, tools, strict=True)
            if tool.needed_text("name") in names
        ]
    fields: Fields = {"tools": functions}
    if choice is not None:
        fields["tool_choice"] = choice
    return fields if is_parallel is None else fields | {"parallel_tool_calls": is_parallel}


def _function(tool: Node) -> Fields:
    function: Fields = {"name": tool.needed_text("name")}
    for name in ("description", "parameters", "strict"):
        value = tool.raw(name)
        if value is not None:
            function[name] = value
    return function


def _tool_choice(request: Node, tools: Sequence[Node]) -> tuple[object, frozenset[str] | None]:
    """The choice in the words of chat completions; and the tools it is among, None for all."""
    given = request.raw("tool_choice")
    if given is not None and is_string(given):
        choice = request.text("tool_choice")
        if choice not in CHOICES:
            raise wrong("tool_choice", f"expected one of {', '.join(sorted(CHOICES))}")
        return choice, None
    node = request.node("tool_choice")
    if node is None:
        return None, None
    kind = node.needed_text("type")
    if kind == "function":
        name = _offered(node, tools)
        return {"type": "function", "function": {"name": name}}, None
    if kind == "allowed_tools":
        mode = node.text("mode") or "auto"
        if mode not in ("auto", "required"):
            raise wrong(node.place_of("mode"), "expected auto or required")
        allowed = node.nodes("tools")
        if not allowed:
            raise wrong(node.place_of("tools"), "expected at least one function")
        for one in allowed:
            if one.needed_text("type") != "function":
                raise wrong(one.place_of("type"), "only functions are supported")
        return mode, frozenset(_offered(one, tools) for one in allowed)
    raise wrong(node.place_of("type"), f"a choice of type '{kind}' is not supported")


def _offered(named: Node, tools: Sequence[Node]) -> str:
    name = named.needed_text("name")
    if name not in {tool.needed_text("name") for tool in tools}:
        raise wrong(named.place_of("name"), "no function of that name is in 'tools'")
    return name


def _text_fields(request: Node) -> Fields:
    fields: Fields = {}
    text = request.node("text")
    if text is None:
        return fields
    verbosity = text.raw("verbosity")
    if verbosity is not None:
        fields["verbosity"] = verbosity
    form = text.node("format")
    if form is None:
        return fields
    kind = form.needed_text("type")
    if kind == "json_object":
        fields["response_format"] = {"type": kind}
    elif kind == "json_schema":
        form.needed_text("name")
        form.needed("schema")
        form.node("schema")
        schema = {name: value for name, value in form.fields.items() if name != "type"}
        fields["response_format"] = {"type": kind, "json_schema": schema}
    elif kind != "text":
        raise wrong(form.place_of("type"), "expected one of json_object, json_schema, text")
    return fields


def _reasoning_fields(request: Node) -> Fields:
    reasoning = request.node("reasoning")
    effort = None if reasoning is None else reasoning.raw("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _logprobs_fields(request: Node) -> Fields:
    """``include`` asks for log-probabilities, and ``top_logprobs`` says only how many."""
    included = request.entries("include") or ()
    for number, entry in enumerate(included):
        if not is_string(entry) or _text.decode(entry) not in INCLUDABLE:
            raise wrong(f"include[{number}]", f"expected one of {', '.join(sorted(INCLUDABLE))}")
    most = _top_logprobs(request)
    if LOGPROBS not in [_text.decode(entry) for entry in included]:
        return {}
    return {"logprobs": True, "top_logprobs": most}


def _top_logprobs(request: Node) -> int:
    given = request.raw("top_logprobs")
    if given is None:
        return 0
    try:
        most = _count.decode(given)
    except msgspec.ValidationError:
        most = -1
    if not 0 <= most <= MAX_TOP_LOGPROBS:
        raise wrong("top_logprobs", f"expected a number from 0 to {MAX_TOP_LOGPROBS}")
    return most


def _stream_fields(request: Node) -> Fields:
    is_stream = request.flag("stream")
    if request.node("stream_options") is not None and not is_stream:
        raise RequestError("'stream_options' needs 'stream': true.", param="stream_options")
    # The usage stands in the last event, and with it what the gateway says of the answer.
    return {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}


def _echo(request: Node, tools: Sequence[Node]) -> Fields:
    """What the response repeats, with the defaults that hold where the request said nothing."""
    metadata = request.node("metadata")
    truncation = request.text("truncation")
    if truncation is not None and truncation not in TRUNCATIONS:
        raise wrong("truncation", f"expected one of {', '.join(sorted(TRUNCATIONS))}")
    defaults: Fields = {
        "instructions": None,
        "max_output_tokens": None,
        "parallel_tool_calls": True,
        "prompt_cache_key": None,
        "safety_identifier": None,
        "service_tier": "auto",
        "temperature": None,
        "tool_choice": "auto",
        "top_logprobs": 0,
        "top_p": None,
        "user": None,
    }
    said: Fields = {name: request.raw(name) for name in defaults if request.raw(name) is not None}
    text, reasoning = request.node("text"), request.node("reasoning")
    return {
        **defaults,
        **said,
        "background": False,
        "max_tool_calls": None,
        "metadata": {} if metadata is None else metadata.fields,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **(reasoning.fields if reasoning else {})},
        "store": False,  # nothing is kept, whatever was asked
        "text": {"format": {"type": "text"}, **(text.fields if text else {})},
        "tools": [{**_TOOL, **tool.fields} for tool in tools],
        "truncation": "disabled",  # nothing is left out of the input, whatever was allowed
    }
