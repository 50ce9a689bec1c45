"""How long modules and functions get, and how many parameters. The limits only go down."""

import ast
from collections.abc import Iterable, Iterator

import pytest

from tests.architecture.source import Module, module, modules

MODULE_LINES = 400
FUNCTION_LINES = 70
PARAMETERS = 5

type_of_function = ast.FunctionDef | ast.AsyncFunctionDef


def long_modules(source: Module) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > MODULE_LINES:
        yield f"{source.path} has {lines} lines, limit {MODULE_LINES}: split it by what it owns"


def functions(source: Module) -> Iterator[type_of_function]:
    for node in source.nodes:
        if isinstance(node, type_of_function):
            yield node


def long_functions(source: Module) -> Iterator[str]:
    """Functions over the limit; their decorators count."""
    for function in functions(source):
        first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
        lines = (function.end_lineno or first) - first + 1
        if lines > FUNCTION_LINES:
            yield (
                f"{source.path}:{first} {function.name}() has {lines} lines, limit "
                f"{FUNCTION_LINES}: keep the `if` here and move the arithmetic to pure leaves"
            )


def many_parameters(source: Module, commands: frozenset[str]) -> Iterator[str]:
    """Functions over the limit, ``self`` and ``cls`` not counted. Exempt are ``commands`` alone,
    written ``module:function``: the parameters of a command are its options."""
    for function in functions(source):
        arguments = function.args
        names = [
            each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        ]
        if names[:1] in (["self"], ["cls"]):
            names = names[1:]
        if len(names) > PARAMETERS and f"{source.name}:{function.name}" not in commands:
            yield (
                f"{source.path}:{function.lineno} {function.name}() has {len(names)} parameters, "
                f"limit {PARAMETERS}: make a frozen dataclass of those that travel together"
            )


def commands_of(sources: Iterable[Module]) -> frozenset[str]:
    """What understudy/__main__.py registers: ``app.command("understudy.serve:serve")``."""
    return frozenset(
        call.args[0].value
        for source in sources
        if source.path == "understudy/__main__.py"
        for call in source.nodes
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "command"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    )


def faults(source: Module, commands: frozenset[str] = frozenset()) -> list[str]:
    return [
        *long_modules(source),
        *long_functions(source),
        *many_parameters(source, commands),
    ]


def test_nothing_outgrows_its_limit() -> None:
    commands = commands_of(modules())
    found = [fault for each in modules() for fault in faults(each, commands)]
    assert not found, "\n".join(found)


def function_of(lines: int, *, decorated: bool = False) -> str:
    head = "@cache\n" if decorated else ""
    body = "\n".join(["    pass"] * (lines - 1 - decorated))
    return f"{head}def grown():\n{body}\n"


@pytest.mark.parametrize(
    "text",
    [
        "\n" * (MODULE_LINES + 1),
        function_of(FUNCTION_LINES + 1),
        function_of(FUNCTION_LINES + 1, decorated=True),
        "async " + function_of(FUNCTION_LINES + 1),
        "class A:\n    def f(self, a, b, c, d, e, f): ...",
        "def f(a, b, c, /, d, *, e, f): ...",
    ],
)
def test_one_over_the_limit_is_found(text: str) -> None:
    assert len(faults(module("gateway/grown.py", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "\n" * MODULE_LINES,
        function_of(FUNCTION_LINES),
        function_of(FUNCTION_LINES, decorated=True),
        "class A:\n    def f(self, a, b, c, d, e): ...",
        "class A:\n    def f(cls, a, b, *, c, d, e): ...",
    ],
)
def test_at_the_limit_passes(text: str) -> None:
    assert faults(module("gateway/grown.py", text)) == []


def test_only_a_registered_command_may_have_many_options() -> None:
    main = module("understudy/__main__.py", "app.command('understudy.demo:demo')\napp.run('a:b')")
    commands = commands_of([main, module("gateway/app.py", "app.command('gateway.app:create')")])
    assert commands == {"understudy.demo:demo"}

    options = "def demo(a, b, c, d, e, f): ...\n"
    assert faults(module("understudy/demo.py", options), commands) == []
    assert len(faults(module("understudy/serve.py", options), commands)) == 1
    assert len(faults(module("understudy/demo.py", options.replace("demo", "run")), commands)) == 1
