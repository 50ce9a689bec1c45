"""Who may import whom. The table is RULES; every rule is shown to bite on a small bad source."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest

from tests.architecture.source import Import, Module, imports, module, modules

PURE = frozenset({
    "__future__", "abc", "array", "bisect", "collections", "copy", "dataclasses", "decimal",
    "difflib", "enum", "fractions", "functools", "hashlib", "heapq", "itertools", "json", "math",
    "numbers", "operator", "re", "statistics", "string", "types", "typing", "unicodedata", "zlib",
})  # fmt: skip
IMPURE_BUILTINS = frozenset({"breakpoint", "eval", "exec", "input", "open", "print"})

WEB = ("fastapi", "starlette")
# The first two are what gateway/upstream/http1.py is made of.
HTTP_CLIENTS = ("aiohappyeyeballs", "httptools", "aiohttp", "httpx", "pyreqwest")
TRAINING = (
    "accelerate", "datasets", "gguf", "peft", "safetensors", "torch", "transformers", "trl",
)  # fmt: skip
FITTING = ("matplotlib", "numpy", "scipy", "sklearn")
ANSWERS = ("gateway.answer", "gateway.answer_stream")
ABOVE_THE_GATEWAY = ("bench", "distill", "evaluation", "grafana", "tests", "understudy")
# What draws pictures of dashboards needs a plotter; what makes them needs the SDK alone.
DASHBOARDS = frozenset({"grafana", "grafana_foundation_sdk"})
DRAWING = frozenset({"matplotlib", "PIL"})
# What tells operators how much of everything they need, before anything is installed.
SIZING = ("deploy/capacity.py", "deploy/needs.py", "deploy/sizing.py")


@dataclass(frozen=True)
class Rule:
    """Modules whose path matches ``where`` import none of ``forbidden``, but for ``allowed``."""

    where: tuple[str, ...]
    forbidden: tuple[str, ...]
    reason: str
    allowed: tuple[str, ...] = ()
    except_in: tuple[str, ...] = ()
    module_level_only: bool = False


RULES = (
    Rule(
        ("*",),
        ("vllm",),
        "vLLM is a server that deploy/ starts and we talk to over HTTP",
    ),
    Rule(
        (
            "bench/*", "distill/*", "evaluation/*", "gateway/*", "grafana/*", "routing/*",
            "understudy/*",
        ),
        ("tests",),
        "what ships must not need the tests",
    ),
    Rule(
        ("gateway/*", "routing/*", "understudy/*"),
        TRAINING,
        "serving must install and start without a training stack",
    ),
    Rule(
        ("gateway/*",),
        FITTING,
        "a policy is applied without the libraries that fitted it",
    ),
    Rule(
        ("gateway/*",),
        ABOVE_THE_GATEWAY,
        "the gateway serves; it does not know who starts, measures or trains",
    ),
    Rule(
        ("gateway/*",),
        ("gateway.app",),
        "app.py connects everything, so that nothing else has to know everything",
        except_in=("gateway/app.py", "gateway/__main__.py"),
    ),
    Rule(
        ("gateway/*",),
        (*HTTP_CLIENTS, "gateway.upstream.http1"),
        "gateway/upstream alone opens connections to models",
        except_in=("gateway/upstream/*",),
    ),
    Rule(
        ("gateway/errors/*", "gateway/roots.py", "gateway/wire/*"),
        (*WEB, *HTTP_CLIENTS, "redis", "structlog", "prometheus_client", "gateway"),
        "shapes and errors are the bottom layer: they do not know who sends, stores or serves them",
        allowed=("gateway.errors", "gateway.roots", "gateway.wire"),
    ),
    Rule(
        ("gateway/upstream/*",),
        (*WEB, "redis", "gateway.stores", *ANSWERS, "gateway.api", "gateway.telemetry"),
        "an adapter knows its own outside thing: here, model servers",
    ),
    Rule(
        ("gateway/stores/*",),
        (
            *WEB, *HTTP_CLIENTS,
            *ANSWERS, "gateway.api", "gateway.telemetry", "gateway.upstream",
        ),
        "an adapter knows its own outside thing: here, Redis and the local journal",
    ),
    Rule(
        ("gateway/telemetry/*",),
        (
            *WEB, *HTTP_CLIENTS, "redis",
            *ANSWERS, "gateway.api", "gateway.stores", "gateway.upstream",
        ),
        "an adapter knows its own outside thing: here, metrics and logs",
    ),
    Rule(
        ("bench/*", "distill/*", "evaluation/*", "gateway/*", "understudy/*"),
        ("opentelemetry", "gateway.telemetry.span_sender", "gateway.telemetry.tracing"),
        "the SDK is an extra, and loaded where UNDERSTUDY_TRACING is set and nowhere else",
        except_in=("gateway/telemetry/span_sender.py", "gateway/telemetry/tracing.py"),
        module_level_only=True,
    ),
    Rule(
        ("bench/*", "distill/*", "evaluation/*", "gateway/*", "understudy/*"),
        ("opentelemetry", "gateway.telemetry.span_sender", "gateway.telemetry.tracing"),
        "one place decides whether requests are traced",
        except_in=(
            "gateway/telemetry/span_sender.py", "gateway/telemetry/tracing.py",
            "gateway/tracing.py",
        ),
    ),
    Rule(
        ("gateway/answer*.py",),
        (
            *WEB, *HTTP_CLIENTS, "redis", "os", "logging", "structlog", "prometheus_client",
            "gateway.api", "gateway.settings", "gateway.stores", "gateway.upstream",
            "gateway.telemetry.log", "gateway.telemetry.metrics",
        ),
        "the life of a request reads top to bottom; the world is handed in through ports",
    ),
    Rule(
        ("gateway/audits/*",),
        (
            *WEB, *HTTP_CLIENTS, "redis", "os", "logging", "structlog", "prometheus_client",
            "gateway.settings", "gateway.stores", "gateway.upstream",
            "gateway.telemetry.log", "gateway.telemetry.metrics",
        ),
        "an audit asks and records by the same ports as the request that it is about",
    ),
    Rule(
        ("gateway/ports.py",),
        (
            *WEB, *HTTP_CLIENTS, "redis",
            "gateway.api", "gateway.settings", "gateway.stores", "gateway.upstream",
        ),
        "a port says what is needed, not who provides it",
    ),
    Rule(
        ("gateway/api/*",),
        (*HTTP_CLIENTS, "redis", "gateway.stores", "gateway.upstream"),
        "a route parses, asks answer.py and renders; app.py hands it what it needs",
    ),
    Rule(
        ("evaluation/*",),
        (*WEB, *HTTP_CLIENTS, *TRAINING, "redis", "bench", "distill", "gateway", "understudy"),
        "of ours, evaluation imports routing only: the same numbers without a gateway",
    ),
    Rule(
        ("distill/*",),
        TRAINING,
        "what is decided without a training library is decided and tested without one",
        except_in=("distill/training/*",),
    ),
    Rule(
        ("distill/*",),
        (*WEB, "gateway", "understudy"),
        "batch jobs read pairs and write policies; they share no code with the server",
    ),
    Rule(
        ("distill/*",),
        ("duckdb", "fsspec", "pyarrow", "redis"),
        "distill says what a pair is worth; understudy/pairs reads and writes them",
    ),
    Rule(
        ("understudy/__main__.py",),
        ("bench", "distill", "evaluation", "gateway"),
        "`understudy serve` must not pay for the other commands: import inside the command",
        module_level_only=True,
    ),
)  # fmt: skip


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def breaks(rule: Rule, imported: Import) -> bool:
    return (
        any(imported.is_of(name) for name in rule.forbidden)
        and not any(imported.is_of(name) for name in rule.allowed)
        and (imported.at_module_level or not rule.module_level_only)
    )


def forbidden_imports(source: Module) -> Iterator[str]:
    """Imports that a rule of the table forbids."""
    rules = [
        rule
        for rule in RULES
        if matches(source.path, rule.where) and not matches(source.path, rule.except_in)
    ]
    for imported in imports(source):
        for rule in rules:
            if breaks(rule, imported):
                yield f"{source.path}:{imported.line} imports {imported.target}: {rule.reason}"


def impure_routing(source: Module) -> Iterator[str]:
    """Whatever routing/ takes from anywhere but the pure standard library and itself."""
    if source.package != "routing":
        return
    for imported in imports(source):
        if imported.target.partition(".")[0] not in PURE | {"routing"}:
            yield (
                f"{source.path}:{imported.line} imports {imported.target}: routing decides from "
                "its arguments alone; clock, dice, files, logs and libraries stay outside"
            )
    for node in source.nodes:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in IMPURE_BUILTINS
        ):
            yield f"{source.path}:{node.lineno} calls {node.func.id}(): routing touches nothing"
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield f"{source.path}:{node.lineno} is asynchronous: routing never waits"


def foreign_dashboards(source: Module) -> Iterator[str]:
    """Whatever grafana/ takes from anywhere but the SDK, the standard library and itself."""
    if source.package != "grafana":
        return
    allowed = DASHBOARDS | sys.stdlib_module_names
    if source.path.startswith("grafana/pictures/"):
        allowed |= DRAWING
    for imported in imports(source):
        if imported.target.partition(".")[0] not in allowed:
            yield (
                f"{source.path}:{imported.line} imports {imported.target}: dashboards know the "
                "gateway by its metrics alone"
            )


def foreign_sizing(source: Module) -> Iterator[str]:
    """Whatever the sizing takes from anywhere but the standard library and itself."""
    if source.path not in SIZING:
        return
    for imported in imports(source):
        if imported.target.partition(".")[0] not in {"deploy", *sys.stdlib_module_names}:
            yield (
                f"{source.path}:{imported.line} imports {imported.target}: sizing runs on any "
                "Python, where nothing is installed"
            )


def environment_readers(source: Module) -> Iterator[str]:
    """Places in gateway/ but settings.py that read the environment."""
    if source.package != "gateway" or source.path == "gateway/settings.py":
        return
    reason = "gateway/settings.py is the only reader of the environment"
    for imported in imports(source):
        if imported.target in {"os.environ", "os.environb", "os.getenv", "os.getenvb"}:
            yield f"{source.path}:{imported.line} imports {imported.target}: {reason}"
    for node in source.nodes:
        if (
            isinstance(node, ast.Attribute)
            and node.attr in {"environ", "environb", "getenv", "getenvb"}
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        ):
            yield f"{source.path}:{node.lineno} reads os.{node.attr}: {reason}"


def own_root_imports(source: Module, known: frozenset[str]) -> Iterator[str]:
    """Imports of the package's own root; ``known`` has the dotted names of all modules."""
    root = source.package
    if source.name == root:
        return
    for imported in imports(source):
        is_name_in_root = imported.is_of(root) and imported.target.count(".") == 1
        if imported.target == root or (is_name_in_root and imported.target not in known):
            yield (
                f"{source.path}:{imported.line} imports {imported.target} from its own package's "
                "root: import the module that defines it, or the order of imports becomes a trap"
            )


COMMANDS = frozenset({
    "bill", "calibrate", "check", "demo", "distill", "doctor", "evaluate", "pairs", "record",
    "serve", "simulate",
})  # fmt: skip


def sibling_commands(source: Module) -> Iterator[str]:
    """Commands of the command line that import another command."""
    parts = source.name.split(".")
    if source.package != "understudy" or len(parts) < 2 or parts[1] == "__main__":
        return
    for imported in imports(source):
        root, _, rest = imported.target.partition(".")
        if root == "understudy" and rest.partition(".")[0] in COMMANDS - {parts[1]}:
            yield (
                f"{source.path}:{imported.line} imports {imported.target}: commands do not know "
                "each other; what two share belongs to the part they start"
            )


def faults(source: Module, known: frozenset[str]) -> list[str]:
    return [
        *forbidden_imports(source),
        *impure_routing(source),
        *foreign_dashboards(source),
        *foreign_sizing(source),
        *environment_readers(source),
        *own_root_imports(source, known),
        *sibling_commands(source),
    ]


def test_no_module_reaches_across_a_layer() -> None:
    known = frozenset(each.name for each in modules())
    found = [fault for each in modules() for fault in faults(each, known)]
    assert not found, "\n".join(found)


def test_routing_allows_standard_library_modules_only() -> None:
    assert sys.stdlib_module_names >= PURE
    assert PURE.isdisjoint({"asyncio", "time", "datetime", "random", "os", "logging", "pathlib"})


KNOWN = frozenset({"gateway", "gateway.errors", "gateway.wire", "gateway.wire.sse", "routing"})


BAD = [
    ("routing/cascade.py", "import time"),
    ("routing/cascade.py", "import asyncio"),
    ("routing/cascade.py", "from random import random"),
    ("routing/cascade.py", "from os import path"),
    ("routing/cascade.py", "import logging"),
    ("routing/cascade.py", "from pathlib import Path"),
    ("routing/cascade.py", "import numpy"),
    ("routing/cascade.py", "from gateway.errors import GatewayError"),
    ("routing/cascade.py", "def load(path):\n    return open(path).read()"),
    ("routing/cascade.py", "async def plan(): ..."),
    ("routing/cascade.py", "def plan():\n    import datetime"),
    ("gateway/wire/sse.py", "import httpx"),
    ("gateway/wire/sse.py", "from redis.asyncio import Redis"),
    ("gateway/wire/sse.py", "import fastapi"),
    ("gateway/wire/sse.py", "from gateway.settings import Settings"),
    ("gateway/errors/own.py", "from starlette.responses import Response"),
    ("gateway/upstream/openai.py", "import fastapi"),
    ("gateway/upstream/openai.py", "from gateway.stores.pairs import PairLog"),
    ("gateway/stores/pairs.py", "from gateway import telemetry"),
    ("gateway/stores/pairs.py", "import httpx"),
    ("gateway/telemetry/metrics.py", "from gateway.upstream.openai import Client"),
    ("gateway/answer.py", "import httpx"),
    ("gateway/api/answering.py", "from opentelemetry import trace"),
    ("gateway/legs.py", "def ask():\n    from opentelemetry import trace"),
    ("gateway/tracing.py", "from gateway.telemetry.tracing import SpanTracing"),
    ("gateway/legs.py", "import aiohttp"),
    ("gateway/legs.py", "from httptools import HttpResponseParser"),
    ("gateway/app.py", "import aiohappyeyeballs"),
    ("gateway/app.py", "from gateway.upstream.http1 import HttpClient"),
    ("gateway/answer.py", "import redis"),
    ("gateway/answer.py", "from fastapi import Request"),
    ("gateway/answer_stream.py", "from gateway.settings import Settings"),
    ("gateway/answer_stream.py", "from gateway import settings"),
    ("gateway/audits/audit.py", "import httpx"),
    ("gateway/ports.py", "from gateway.stores.pairs import Pairs"),
    ("gateway/api/answering.py", "import httpx"),
    ("gateway/api/answering.py", "import redis"),
    ("gateway/api/answering.py", "import os\nKEY = os.environ['KEY']"),
    ("gateway/api/answering.py", "import os\nKEY = os.getenv('KEY')"),
    ("gateway/app.py", "from os import environ"),
    ("gateway/api/answering.py", "from gateway.app import create_app"),
    ("gateway/app.py", "import understudy.demo"),
    ("gateway/app.py", "import torch"),
    ("gateway/app.py", "import tests.fakes"),
    ("gateway/app.py", "import gateway"),
    ("gateway/app.py", "from gateway import create_app"),
    ("gateway/app.py", "from . import create_app"),
    ("gateway/wire/sse.py", "from .. import create_app"),
    ("evaluation/fit.py", "from gateway.wire import sse"),
    ("evaluation/fit.py", "import distill.train"),
    ("evaluation/fit.py", "import bench.load"),
    ("evaluation/fit.py", "from understudy.evaluate import evaluate"),
    ("evaluation/fit.py", "import httpx"),
    ("gateway/app.py", "import numpy"),
    ("distill/train.py", "import fastapi"),
    ("distill/train.py", "import gateway.settings"),
    ("distill/rows.py", "import pyarrow.parquet"),
    ("distill/recipe.py", "def device():\n    import torch"),
    ("bench/load.py", "import vllm"),
    ("distill/train.py", "from vllm import LLM"),
    ("understudy/__main__.py", "from gateway.app import create_app"),
    ("understudy/check.py", "from understudy.serve import serve"),
    ("grafana/cost.py", "from routing.vocabulary import Kind"),
    ("grafana/cost.py", "import matplotlib.pyplot"),
    ("grafana/boards.py", "import yaml"),
    ("grafana/pictures/answers.py", "import httpx"),
    ("grafana/pictures/answers.py", "from tests.fakes import upstream"),
    ("deploy/capacity.py", "import numpy"),
    ("deploy/needs.py", "from gateway.settings import Settings"),
    ("gateway/app.py", "import grafana.boards"),
]


@pytest.mark.parametrize(("path", "text"), BAD)
def test_bad_import_is_found(path: str, text: str) -> None:
    assert faults(module(path, text), KNOWN)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.reason)
def test_every_rule_is_broken_by_a_bad_import(rule: Rule) -> None:
    faults_found = [fault for path, text in BAD for fault in forbidden_imports(module(path, text))]
    assert [fault for fault in faults_found if fault.endswith(rule.reason)]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("routing/cascade.py", "import math\nfrom collections.abc import Sequence"),
        ("routing/cascade.py", "from routing.vocabulary import Draft"),
        ("routing/__init__.py", "from routing.vocabulary import Draft"),
        ("gateway/wire/sse.py", "import msgspec\nfrom gateway.errors import GatewayError"),
        ("gateway/upstream/http1.py", "import aiohappyeyeballs\nimport httptools"),
        ("gateway/upstream/openai.py", "from gateway.upstream.http1 import HttpClient"),
        ("bench/clients.py", "from gateway.upstream.http1 import HttpClient"),
        ("gateway/app.py", "from gateway import errors\nfrom gateway.settings import Settings"),
        ("gateway/app.py", "from .wire import sse\nfrom . import errors"),
        ("grafana/panels.py", "import json\nfrom grafana_foundation_sdk.builders import stat"),
        ("grafana/pictures/drawing.py", "from matplotlib.figure import Figure"),
        ("deploy/sizing.py", "import json\nfrom deploy.needs import plan"),
        ("gateway/settings.py", "import os\nHOME = os.environ.get('HOME')"),
        ("gateway/telemetry/log.py", "import os\nPID = os.getpid()"),
        ("gateway/telemetry/tracing.py", "from opentelemetry.trace import Span"),
        ("gateway/tracing.py", "def choose():\n    from opentelemetry.sdk.trace import Tracer"),
        ("understudy/__main__.py", "def serve():\n    from gateway.app import create_app"),
        ("understudy/demo/run.py", "from understudy.demo.tasks import TASKS"),
        ("routing/money.py", "def price(input, output):\n    return input + output"),
        ("distill/training/models.py", "import torch\nfrom peft import LoraConfig"),
        ("evaluation/fit.py", "import numpy\nfrom routing.vocabulary import Draft"),
        ("evaluation/fit.py", "import msgspec\nimport sklearn\nfrom routing import Draft"),
    ],
)
def test_good_import_passes(path: str, text: str) -> None:
    assert faults(module(path, text), KNOWN) == []


def test_every_fault_names_place_and_reason() -> None:
    (fault,) = faults(module("gateway/api/answering.py", "\nimport redis"), KNOWN)
    assert fault.startswith("gateway/api/answering.py:2 imports redis: a route parses")
