"""What operators rely on is written down: settings and metrics."""

import ast
import re
from collections.abc import Iterable

import pytest

from tests.architecture.source import ROOT, Module, module, modules

SETTINGS = "gateway/settings.py"
SETTINGS_PREFIX = "UNDERSTUDY_"
SETTINGS_PAGE = "docs/operating.md"

METRICS = "gateway/telemetry/"
METRICS_PAGE = "docs/metrics.md"
# OpenTelemetry's attributes begin with gen_ai too, and are labels here.
METRIC = re.compile(r"\b(?:understudy|gen_ai_client|gen_ai_server)_[a-z0-9_]*[a-z0-9]\b")


def settings_of(source: Module) -> set[str]:
    """Environment variables of the classes that derive from BaseSettings."""
    return {
        SETTINGS_PREFIX + field.target.id.upper()
        for node in source.nodes
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "BaseSettings" for base in node.bases)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


def settings_in(page: str) -> set[str]:
    return set(re.findall(rf"\b{SETTINGS_PREFIX}[A-Z0-9_]*[A-Z0-9]\b", page))


def metrics_of(source: Module) -> set[str]:
    """Names in string constants that are a metric's name and nothing else."""
    return {
        node.value
        for node in source.nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and METRIC.fullmatch(node.value)
    }


def metrics_in(page: str, known: Iterable[str]) -> set[str]:
    """Names a page mentions; a histogram's series count as the histogram."""
    series = {f"{name}{end}": name for name in known for end in ("_bucket", "_count", "_sum")}
    return {series.get(name, name) for name in METRIC.findall(page)}


def differences(made: set[str], documented: set[str], page: str) -> list[str]:
    return [
        *(f"{name} is not in {page}" for name in sorted(made - documented)),
        *(f"{page} has {name}, which does not exist" for name in sorted(documented - made)),
    ]


def the_module(path: str) -> Module:
    found = [each for each in modules() if each.path == path]
    if not found:
        pytest.skip(f"{path} does not exist yet")
    return found[0]


def the_page(path: str) -> str:
    if not (ROOT / "docs").is_dir():
        pytest.skip("docs/ does not exist yet")
    assert (ROOT / path).is_file(), f"{path} is missing"
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_setting_is_documented_and_nothing_else() -> None:
    made = settings_of(the_module(SETTINGS))
    assert made
    found = differences(made, settings_in(the_page(SETTINGS_PAGE)), SETTINGS_PAGE)
    assert not found, "\n".join(found)


def test_every_metric_is_documented_and_nothing_else() -> None:
    found_in = [each for each in modules() if each.path.startswith(METRICS)]
    made = set[str]().union(*map(metrics_of, found_in))
    assert made
    found = differences(made, metrics_in(the_page(METRICS_PAGE), made), METRICS_PAGE)
    assert not found, "\n".join(found)


def test_undocumented_setting_is_found() -> None:
    source = module(SETTINGS, "class Settings(BaseSettings):\n    port: int = 1\n    host: str\n")
    page = "| `UNDERSTUDY_HOST` | and `UNDERSTUDY_GONE` |"
    assert differences(settings_of(source), settings_in(page), "page") == [
        "UNDERSTUDY_PORT is not in page",
        "page has UNDERSTUDY_GONE, which does not exist",
    ]


def test_undocumented_metric_is_found() -> None:
    source = module(
        METRICS + "metrics.py",
        "A = Counter('understudy_a_total', 'Says understudy_x in passing.')\n",
    )
    page = "understudy_b_seconds"
    assert differences(metrics_of(source), metrics_in(page, ()), "page") == [
        "understudy_a_total is not in page",
        "page has understudy_b_seconds, which does not exist",
    ]


def test_undocumented_metric_of_opentelemetrys_is_found() -> None:
    source = module(
        METRICS + "gen_ai_metrics.py",
        "A = Histogram('gen_ai_server_x_seconds', 'X.', ['gen_ai_request_model', 'error_type'])\n",
    )
    page = "| `gen_ai_client_y_seconds` | `gen_ai_request_model` |"
    assert differences(metrics_of(source), metrics_in(page, ()), "page") == [
        "gen_ai_server_x_seconds is not in page",
        "page has gen_ai_client_y_seconds, which does not exist",
    ]


def test_a_histograms_series_are_documented_by_its_name() -> None:
    made = {"understudy_latency_seconds"}
    page = "rate(understudy_latency_seconds_bucket[5m]), understudy_latency_seconds_sum"
    assert metrics_in(page, made) == made


DOCTOR = "understudy/doctor/findings.py"
DOCTOR_PAGE = "docs/doctor.md"


def subjects_of(source: Module) -> set[str]:
    """What the doctor looks at: the values of the class ``Subject``."""
    return {
        line.value.value
        for node in source.nodes
        if isinstance(node, ast.ClassDef) and node.name == "Subject"
        for line in node.body
        if isinstance(line, ast.Assign)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    }


def rows_of(page: str) -> set[str]:
    """The first cells of the tables whose head begins with ``subject``."""
    found, is_inside = set(), False
    for line in page.splitlines():
        first = line.split("|")[1].strip() if line.startswith("|") else None
        is_inside = first is not None and (is_inside or first == "subject")
        if is_inside and first not in (None, "subject", "---"):
            found.add(str(first))
    return found


def test_all_that_the_doctor_looks_at_has_a_row_and_nothing_else() -> None:
    made = subjects_of(the_module(DOCTOR))
    assert made
    found = differences(made, rows_of(the_page(DOCTOR_PAGE)), DOCTOR_PAGE)
    assert not found, "\n".join(found)
