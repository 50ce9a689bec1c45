"""LiteLLM's configuration read as ours: what can be had of it, and what cannot.

Written after LiteLLM's documentation of ``config.yaml`` (proxy, release 1.106).  Nothing is
guessed: what means something else here, or nothing, is told by its place in the file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

MILLION = 1_000_000
# Where a provider's OpenAI-compatible API is, by what stands before the model's name.
_PROVIDERS: Mapping[str, str | None] = {
    "openai": "https://api.openai.com/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together_ai": "https://api.together.xyz/v1",
    "xai": "https://api.x.ai/v1",
    # These have no address of their own: the configuration names it.
    "hosted_vllm": None,
    "vllm": None,
    "llamafile": None,
    "lm_studio": None,
    "litellm_proxy": None,
    "openai_like": None,
    "custom_openai": None,
    "text-completion-openai": None,
}
_IN_ENVIRONMENT = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_NAME = re.compile(r"[^a-z0-9._-]+")
# What each mode of a model is served by here; the routes below /v1 that such servers have.
_ROUTES: Mapping[str, Sequence[str]] = {
    "embedding": ("embeddings", "tokenize", "detokenize"),
    "rerank": ("rerank", "score"),
}
_PRICES = {
    "input": "input_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
}
# What nobody can know but the operator.
_BY_HAND = (
    "student.version: name weights, quantisation and engine, for policies are bound to it",
    "teacher.outputs_may_train: true, where the teacher's licence lets a student learn from it",
)
_TAKEN = frozenset({"model", "api_base", "base_url", "api_key", "timeout", "request_timeout"})
_TAKEN_TOO = frozenset({"max_parallel_requests", "extra_body", *_PRICES.values()})


@dataclass(frozen=True, slots=True)
class Left:
    """Something that was left out: where it stands, and why or what to do about it."""

    place: str
    why: str


@dataclass(slots=True)
class Moved:
    """What came of a configuration: the document, which servers it was made of, what was left."""

    document: dict[str, Any] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A cascade that somebody wants, of two models by LiteLLM's names for them."""

    name: str
    student: str
    teacher: str


@dataclass(slots=True)
class _Group:
    """All deployments of one model name that are asked alike."""

    mode: str
    section: dict[str, Any]
    base_urls: list[str]
    place: str


def move(config: object, wanted: Sequence[Wanted] = ()) -> Moved:
    """Read a configuration.

    Cascades are those that are ``wanted``, or else one for each of its fallbacks: a model with
    another to step in for it is a student with a teacher.  Raises ValueError for what is no such
    configuration, and for a wanted model that it does not have.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("model_list"), list):
        raise ValueError(
            "model_list: this is no configuration of LiteLLM's proxy, or has no models"
        )
    moved = Moved()
    groups = _groups(config["model_list"], moved)
    used = _add_cascades(groups, list(wanted) or list(_fallbacks(config, moved)), moved)
    _add_models(groups, used, moved)
    _leave_rest(config, moved)
    return moved


def _groups(model_list: list[Any], moved: Moved) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for index, entry in enumerate(model_list):
        place = f"model_list[{index}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("litellm_params"), Mapping):
            moved.left.append(Left(place, "it has no litellm_params"))
            continue
        name = str(entry.get("model_name", ""))
        found = _deployment(entry, place, moved)
        if found is None:
            continue
        known = groups.setdefault(name, found)
        if known is found:
            continue
        if known.section["model"] != found.section["model"]:
            why = f"{name!r} has another model already: a cascade has one model for each role"
            moved.left.append(Left(place, why))
        else:
            known.base_urls += [url for url in found.base_urls if url not in known.base_urls]
    return groups


def _deployment(entry: Mapping[str, Any], place: str, moved: Moved) -> _Group | None:
    """One entry of ``model_list``; None where it cannot be had here."""
    params, info = entry["litellm_params"], entry.get("model_info") or {}
    provider, slash, model = str(params.get("model", "")).partition("/")
    if not slash:
        provider, model = str(params.get("custom_llm_provider", "openai")), provider
    base_url = _base_url(params, provider)
    if base_url is None:
        said = params.get("api_base") or params.get("base_url")
        if isinstance(said, str) and _IN_ENVIRONMENT.fullmatch(said):
            why = f"its address is in {said}, and here it stands in the file: write it there"
            moved.left.append(Left(f"{place}.litellm_params.api_base", why))
            return None
        why = f"{provider!r} speaks no protocol of OpenAI's, or its api_base is missing"
        moved.left.append(Left(f"{place}.litellm_params", why))
        return None
    section: dict[str, Any] = {"base_url": base_url, "model": model}
    key = _key_variable(params, str(entry.get("model_name")), place, moved)
    if key is not None:
        section["api_key_env"] = key
    timeout = params.get("timeout", params.get("request_timeout"))
    if isinstance(timeout, int | float):
        section["timeout_seconds"] = float(timeout)
    if isinstance(params.get("max_parallel_requests"), int):
        section["max_concurrent"] = params["max_parallel_requests"]
    if isinstance(params.get("extra_body"), Mapping):
        section["extra_body"] = dict(params["extra_body"])
    price = _price({**info, **params})
    if price:
        section["price"] = price
    for name in sorted(set(params) - _TAKEN - _TAKEN_TOO - {"custom_llm_provider"}):
        moved.left.append(Left(f"{place}.litellm_params.{name}", _why_not(name)))
    return _Group(str(info.get("mode", "chat")), section, [base_url], place)


def _base_url(params: Mapping[str, Any], provider: str) -> str | None:
    said = params.get("api_base") or params.get("base_url")
    if isinstance(said, str) and provider in _PROVIDERS and said.startswith("http"):
        return said.removesuffix("/chat/completions").rstrip("/")
    return None if said else _PROVIDERS.get(provider)


def _key_variable(params: Mapping[str, Any], name: str, place: str, moved: Moved) -> str | None:
    key = params.get("api_key")
    if not isinstance(key, str):
        return None
    if found := _IN_ENVIRONMENT.fullmatch(key):
        return found.group(1)
    variable = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") + "_API_KEY"
    why = f"keys are not written into the file: put it into the variable {variable}"
    moved.left.append(Left(f"{place}.litellm_params.api_key", why))
    return variable


def _price(said: Mapping[str, Any]) -> dict[str, float]:
    """USD per million tokens of what LiteLLM has per token; nothing where a part is missing."""
    found: dict[str, float] = {}
    for name, theirs in _PRICES.items():
        try:
            cost = Decimal(str(said[theirs])) * MILLION
        except (KeyError, InvalidOperation):
            continue
        found[name] = float(cost)
    return found if {"input", "output"} <= set(found) else {}


def _fallbacks(config: Mapping[str, Any], moved: Moved) -> Iterator[Wanted]:
    """One cascade for each model that has another to step in for it."""
    for section in ("litellm_settings", "router_settings"):
        settings = config.get(section)
        listed = settings.get("fallbacks") if isinstance(settings, Mapping) else None
        for entry in listed if isinstance(listed, list) else ():
            for student, teachers in entry.items() if isinstance(entry, Mapping) else ():
                if not isinstance(teachers, list) or not teachers:
                    continue
                yield Wanted(_plain(student), student, teachers[0])
                for further in teachers[1:]:
                    place = f"{section}.fallbacks.{student}"
                    moved.left.append(Left(place, f"{further!r}: a cascade has one teacher"))


def _add_cascades(groups: Mapping[str, _Group], wanted: Sequence[Wanted], moved: Moved) -> set[str]:
    cascades: dict[str, Any] = {}
    used: set[str] = set()
    for one in wanted:
        missing = [name for name in (one.student, one.teacher) if name not in groups]
        if missing:
            names = ", ".join(groups) or "none"
            raise ValueError(f"{one.name}: there is no {missing[0]!r}; the models are {names}")
        used |= {one.student, one.teacher}
        student, teacher = groups[one.student], groups[one.teacher]
        cascades[one.name] = {
            "student": _with_urls(student) | {"version": f"{student.section['model']}-1"},
            "teacher": _with_urls(teacher),
        }
        moved.to_do += [f"cascades.{one.name}.{each}" for each in _BY_HAND]
    if cascades:
        moved.document["cascades"] = cascades
    return used


def _add_models(groups: Mapping[str, _Group], used: set[str], moved: Moved) -> None:
    models: dict[str, Any] = {}
    for name, group in groups.items():
        if name in used:
            continue
        routes = _ROUTES.get(group.mode)
        if routes is None:
            why = (
                f"{name!r} is in no cascade: name it with --cascade NAME=STUDENT,TEACHER"
                if group.mode in ("chat", "completion")
                else f"{name!r}: models of mode {group.mode!r} are not served here"
            )
            moved.left.append(Left(group.place, why))
            continue
        section = {key: value for key, value in group.section.items() if key != "extra_body"}
        models[_plain(name)] = section | {"serves": list(routes)}
        for url in group.base_urls[1:]:
            why = f"{url}: such a model has one server, put a balancer in front of several"
            moved.left.append(Left(group.place, why))
    if models:
        moved.document["models"] = models


def _with_urls(group: _Group) -> dict[str, Any]:
    one = len(group.base_urls) == 1
    return group.section | {"base_url": group.base_urls[0] if one else list(group.base_urls)}


def _plain(name: str) -> str:
    """A model's name as one that is allowed here."""
    return _NAME.sub("-", name.lower()).strip("-._")[:64] or "assistant"


_WHY_NOT = {
    "rpm": "limits belong to clients' keys: docs/keys.md",
    "tpm": "limits belong to clients' keys: docs/keys.md",
    "max_retries": "the gateway retries within a budget of its own: docs/operating.md",
    "num_retries": "the gateway retries within a budget of its own: docs/operating.md",
    "weight": "of several servers the least loaded is asked",
    "order": "of several servers the least loaded is asked",
    "organization": "no header of OpenAI's for organizations is sent",
    "extra_headers": "no headers but the key are sent to servers",
}


def _why_not(name: str) -> str:
    return _WHY_NOT.get(
        name, "it means nothing here: what clients send is passed, docs/parameters.md"
    )


_SECTIONS = {
    "litellm_settings.cache": "answers are not cached",
    "litellm_settings.cache_params": "answers are not cached",
    "litellm_settings.callbacks": "metrics and traces: docs/metrics.md, docs/operating.md",
    "litellm_settings.success_callback": "metrics and traces: docs/metrics.md, docs/operating.md",
    "litellm_settings.failure_callback": "metrics and traces: docs/metrics.md, docs/operating.md",
    "litellm_settings.drop_params": "parameters are passed on: docs/parameters.md",
    "litellm_settings.context_window_fallbacks": (
        "a prompt too long for the student goes to the teacher anyway"
    ),
    "litellm_settings.num_retries": _WHY_NOT["num_retries"],
    "litellm_settings.request_timeout": "timeout_seconds of each model",
    "general_settings.master_key": "keys are made with `understudy keys create`: docs/keys.md",
    "general_settings.database_url": "there is no database; Redis is optional",
    "general_settings.alerting": "alerts are Prometheus': deploy/prometheus/README.md",
    "router_settings.routing_strategy": "of several servers the least loaded is asked",
    "router_settings.num_retries": _WHY_NOT["num_retries"],
    "router_settings.redis_host": "UNDERSTUDY_REDIS_URL names Redis",
    "router_settings.redis_port": "UNDERSTUDY_REDIS_URL names Redis",
    "router_settings.redis_password": "UNDERSTUDY_REDIS_URL names Redis",
    "environment_variables": "set them where the gateway is started",
}


def _leave_rest(config: Mapping[str, Any], moved: Moved) -> None:
    """Every other key of the file, and why it is not there."""
    for section, value in config.items():
        if section == "model_list":
            continue
        keys = value if isinstance(value, Mapping) and section not in _SECTIONS else {None: None}
        for key in keys:
            place = section if key is None else f"{section}.{key}"
            if not place.endswith(".fallbacks"):
                moved.left.append(Left(place, _SECTIONS.get(place, "it has no counterpart here")))
