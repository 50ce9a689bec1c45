"""``python -m deploy.rules``: write the PrometheusRule, or say whether it is what the rules make.

deploy/prometheus has the rules as Prometheus reads them; its operator wants the same groups inside
an object of Kubernetes, and kustomize can put no file there. Text in, text out: the comments come
along.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
# In this order: alerts read what is recorded.
SOURCES = (ROOT / "deploy/prometheus/recording.yaml", ROOT / "deploy/prometheus/alerts.yaml")
OUT = ROOT / "deploy/kustomize/components/monitoring/rules.yaml"

GROUPS = "groups:\n"
HEAD = """\
# Made by `./dev rules` from deploy/prometheus/recording.yaml and alerts.yaml: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: understudy
  labels:
    app.kubernetes.io/name: understudy
    app.kubernetes.io/component: gateway
spec:
  groups:
"""


def prometheus_rule(sources: Iterable[str]) -> str:
    """The object, of files that are a list of groups each, below comments.

    Raises ValueError where one has no such list.
    """
    return HEAD + "".join(f"  {line}" if line.strip() else line for line in _groups(sources))


def _groups(sources: Iterable[str]) -> Iterable[str]:
    for source in sources:
        before, found, groups = source.partition(GROUPS)
        if not found or any(not line.startswith("#") for line in before.splitlines()):
            raise ValueError(f"no list of groups below comments alone: {source[:60]!r}")
        yield from groups.splitlines(keepends=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check as told by the arguments; the exit status."""
    parser = argparse.ArgumentParser(prog="rules", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it differs")
    options = parser.parse_args(arguments)
    text = prometheus_rule(path.read_text(encoding="utf-8") for path in SOURCES)
    if not options.check:
        OUT.write_text(text, encoding="utf-8")
    elif not OUT.is_file() or OUT.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{OUT} is not what the rules make: run ./dev rules\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
