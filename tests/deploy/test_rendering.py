"""The manifests come out as the pages say, in whatever order components are named."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.deploy import rendering
from tests.deploy.manifests import name_of
from tests.deploy.rendering import (
    COMBINATIONS,
    KUSTOMIZE,
    SOURCES,
    Combination,
    names_of,
    parts,
    render,
)

# They change what is there, so what they change has to be there: deploy/README.md says so.
LAST = ("production", "autoscaling")


def as_texts(combination: Combination) -> dict[str, str]:
    return {name_of(each): json.dumps(each, sort_keys=True) for each in combination.manifests}


def test_a_folder_is_rendered_with_what_it_names() -> None:
    assert {"StatefulSet/gateway", "Service/gateway"} <= {
        name_of(each) for each in render(KUSTOMIZE / "overlays/dev")
    }


def test_components_go_in_any_order_before_those_that_change_others() -> None:
    first = tuple(name for name in names_of("components") if name not in LAST)
    forth = as_texts(Combination("base", (*first, *LAST)))
    back = as_texts(Combination("base", (*reversed(first), *LAST)))
    assert {name for name in forth if forth[name] != back.get(name)} == set()
    assert set(forth) == set(back)


def test_all_that_is_built_from_is_watched_for_changes() -> None:
    used = {
        part
        for each in COMBINATIONS
        for root in (KUSTOMIZE / each.root, *each.folders)
        for part in parts(root)
    }
    assert KUSTOMIZE / "base" in used
    assert not [part for part in used if not any(part.is_relative_to(each) for each in SOURCES)]


def test_components_of_an_overlay_are_counted_with_its_own() -> None:
    assert Combination("overlays/gpu", ("autoscaling",)).all_components == set(
        names_of("components")
    )
    assert Combination("base", ("valkey",)).all_components == {"valkey"}


def test_a_patch_is_one_document() -> None:
    """Several in a file are refused by the oldest kubectl that deploy/README.md asks for, 1.27."""
    named = {
        kustomization.parent / patch["path"]
        for kustomization in KUSTOMIZE.rglob("kustomization.yaml")
        for patch in yaml.safe_load(kustomization.read_bytes()).get("patches") or ()
        if "path" in patch
    }
    assert named
    assert not [path for path in named if len(list(yaml.safe_load_all(path.read_bytes()))) != 1]


@pytest.mark.parametrize(
    "combination",
    [Combination("overlays/dev"), Combination("overlays/gpu", ("autoscaling",))],
    ids=str,
)
def test_another_kubectl_builds_the_same(
    combination: Combination, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.which("kubectl")
    if other is None:
        pytest.skip("there is no kubectl on PATH that could differ from the locked one")
    built = rendering.built(combination)
    monkeypatch.setattr(rendering, "kubectl", lambda: other)
    assert rendering.build(combination) == built


def test_what_was_built_is_kept_until_its_sources_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "deploy/kustomize/base"
    base.mkdir(parents=True)
    (base / "kustomization.yaml").write_text("resources: [settings.yaml]")
    monkeypatch.setattr(rendering, "ROOT", tmp_path)
    monkeypatch.setattr(rendering, "KUSTOMIZE", tmp_path / "deploy/kustomize")
    monkeypatch.setattr(rendering, "SOURCES", (tmp_path / "deploy",))
    monkeypatch.setattr(rendering, "BUILT", tmp_path / "built")

    def built(size: str) -> str:
        settings = (
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{size: {size}}}\n"
        )
        (base / "settings.yaml").write_text(settings)
        return rendering.built(Combination("base"))

    assert "size: small" in built("small")
    (kept,) = (tmp_path / "built").glob("*/*.yaml")
    kept.write_text("as it was kept")
    assert built("small") == "as it was kept"
    assert "size: large" in built("large")
    assert not kept.exists()
