"""Pages are read as their readers read them."""

import pytest

from tests.deploy import documented
from tests.deploy.documented import combinations_in, created_in
from tests.deploy.rendering import Combination


@pytest.mark.parametrize(
    ("line", "made"),
    [
        (
            "kubectl -n understudy create secret generic a --from-file=keys.yaml",
            [("Secret", "a", {"keys.yaml"})],
        ),
        (
            "kubectl create secret generic a \\\n  --from-literal=url='b' --from-literal k=c | cat",
            [("Secret", "a", {"url", "k"})],
        ),
        (
            "kubectl create secret generic a --from-file=keys.yaml=/tmp/k --from-file=/tmp/l.yaml",
            [("Secret", "a", {"keys.yaml", "l.yaml"})],
        ),
        (
            "for who in a b; do kubectl create secret generic $who --from-literal=k=v; done",
            [("Secret", "a", {"k"}), ("Secret", "b", {"k"})],
        ),
        ("kubectl create configmap a --from-file=b.py", [("ConfigMap", "a", {"b.py"})]),
        ("kubectl create namespace a", []),
    ],
)
def test_what_a_page_tells_to_create_is_found(
    line: str, made: list[tuple[str, str, set[str]]]
) -> None:
    found = created_in(f"Text.\n\n```sh\n{line}\n```\n")
    assert [(kind, name, set(keys)) for kind, name, keys in found] == made


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        (
            """
kind: Kustomization
namespace: understudy
resources: [../kustomize/base, mine.yaml]
components: [../kustomize/components/valkey, ../kustomize/examples/teacher-lws]""",
            [Combination("base", ("valkey", "examples/teacher-lws"))],
        ),
        (
            """
resources:
  - https://example.org/understudy//deploy/kustomize/overlays/dev?ref=v1
images: [{name: a, newTag: b}]""",
            [Combination("overlays/dev", more='{"images": [{"name": "a", "newTag": "b"}]}')],
        ),
        (
            "kind: Kustomization\nresources: [../kustomize/base]",
            [Combination("base", more='{"namespace": ""}')],
        ),
        (
            "replicas: [{name: gateway, count: 4}]",
            [Combination("overlays/gpu", more='{"replicas": [{"name": "gateway", "count": 4}]}')],
        ),
        ("cascades: {}", []),
        ("apiVersion: v1\nkind: Secret\nmetadata: {}", []),
    ],
)
def test_kustomizations_on_a_page_are_found(block: str, shown: list[Combination]) -> None:
    assert list(combinations_in(f"Text.\n\n```yaml\n{block}\n```\n")) == shown


def test_the_pages_show_some_and_tell_to_create_some() -> None:
    assert documented.combinations()
    assert ("Secret", "gateway-keys") in documented.created()
