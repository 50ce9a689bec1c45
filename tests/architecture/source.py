"""The project's own source, parsed: what the architecture tests look at."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("bench", "deploy", "distill", "evaluation", "gateway", "routing", "understudy")


@dataclass(frozen=True)
class Module:
    """One .py file; ``path`` is relative to the root, with forward slashes."""

    path: str
    text: str

    @property
    def name(self) -> str:
        """The dotted name it is imported by."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The top-level package it belongs to."""
        return self.name.partition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        """Its text parsed, once somebody looks at it."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree, which takes long to walk and is looked at by many rules."""
        return tuple(ast.walk(self.tree))


@dataclass(frozen=True)
class Import:
    """One imported dotted name: ``from a.b import c`` is ``a.b.c``."""

    target: str
    line: int
    at_module_level: bool

    def is_of(self, name: str) -> bool:
        """Whether this imports ``name`` or something within it."""
        return self.target == name or self.target.startswith(f"{name}.")


def module(path: str, text: str) -> Module:
    return Module(path, text)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the top-level packages that exist."""
    return tuple(
        module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    )


def imports(source: Module) -> Iterator[Import]:
    """All imports, those inside functions and `if TYPE_CHECKING` included."""
    top = set(map(id, source.tree.body))
    for node in source.nodes:
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = absolute_parent(source, node)
            targets = [f"{parent}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            yield Import(target, node.lineno, at_module_level=id(node) in top)


def absolute_parent(source: Module, node: ast.ImportFrom) -> str:
    """The dotted name after ``from``, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    parts = source.name.split(".")
    up = node.level - 1 if source.path.endswith("/__init__.py") else node.level
    return ".".join([*parts[: len(parts) - up], *filter(None, [node.module])])


@cache
def project_files() -> tuple[str, ...]:
    """Paths of every file git tracks or would track; without git, of every file not hidden."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        return tuple(sorted(p.as_posix() for p in paths if not any(map(is_hidden, p.parts))))
    return tuple(sorted(set(filter(None, listed.stdout.split("\0")))))


def is_hidden(part: str) -> bool:
    return part == "__pycache__" or (part.startswith(".") and part not in {".ci", ".gitignore"})
