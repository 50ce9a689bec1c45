"""Every `understudy …` of the manifests is one that the real command line takes, whole."""

import re
from collections.abc import Iterator, Mapping, Sequence

import pytest
from cyclopts import CycloptsError

from tests.deploy.manifests import Container, Manifests, containers, of_kind
from tests.deploy.rendering import Combination
from understudy.__main__ import app

RENDERINGS = (
    Combination("overlays/dev"),
    Combination("overlays/gpu"),
    Combination("overlays/gpu", ("examples/train-kubeflow",)),
)
MODULE = ("-m", "understudy")
# Of a variable whose value is elsewhere: any will do.
SOME_VALUE = "a-value"


def command_lines(manifests: Manifests) -> dict[str, list[str]]:
    """What follows `understudy` or `-m understudy`, as the kubelet hands it over; by place."""
    found = {}
    for container in containers(manifests):
        if (words := arguments(container.words)) is not None:
            found[container.where] = with_values(words, variables(container, manifests))
    for job in of_kind(manifests, "TrainJob"):
        trainer = job["spec"]["trainer"]
        words = arguments((*trainer["command"], *trainer["args"])) or ()
        (configured,) = (
            each["data"]
            for each in of_kind(manifests, "ConfigMap")
            if each["metadata"]["name"] == "distill"
        )
        found[f"TrainJob/{job['metadata']['name']}"] = with_values(words, configured)
    return found


def arguments(words: Sequence[str]) -> Sequence[str] | None:
    """What is left for our command line; None where something else is run."""
    if words[:1] == ("understudy",):
        return words[1:]
    starts = [place for place in range(len(words)) if tuple(words[place : place + 2]) == MODULE]
    return words[starts[0] + len(MODULE) :] if starts else None


def with_values(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """With `$(NAME)` replaced.  Raises KeyError for a name that nothing sets."""
    return [re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], word) for word in words]


def variables(container: Container, manifests: Manifests) -> dict[str, str]:
    """Those of its ConfigMaps, then its own."""
    found: dict[str, str] = {}
    for entry in container.spec.get("envFrom") or ():
        for config in of_kind(manifests, "ConfigMap"):
            if config["metadata"]["name"] == entry["configMapRef"]["name"]:
                found |= config["data"]
    return found | dict.fromkeys(container.variables, SOME_VALUE) | container.values


def refusal(words: Sequence[str]) -> str | None:
    """Why the command line does not take these words; None where it does."""
    try:
        _, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
        bound.signature.bind(*bound.args, **bound.kwargs)
    except (CycloptsError, TypeError) as error:
        return str(error)
    return None


def everything() -> Iterator[tuple[str, list[str]]]:
    for rendering in RENDERINGS:
        for where, words in command_lines(rendering.manifests).items():
            yield f"{rendering}: {where}", words


def test_the_command_line_takes_each_of_them() -> None:
    faults = {where: why for where, words in everything() if (why := refusal(words))}
    assert not faults


def test_all_steps_of_the_loop_are_among_them() -> None:
    said = {" ".join(words[:2]) for _, words in everything()}
    loop = {"pairs export", "distill curate", "distill train", "distill evaluate"}
    assert loop | {"distill promote"} <= said
    assert {"serve", "record", "doctor"} <= {words[0] for _, words in everything()}


@pytest.mark.parametrize(
    "words",
    [
        ("distill", "train", "--data=/d", "--base=/b", "--out=/o", "--outt=/o"),
        ("distill", "train", "--data=/d", "--base=/b"),
        ("pairs", "export", "/data", "--format=csv"),
        ("distil", "train"),
    ],
    ids=["misspelt", "incomplete", "no such value", "no such command"],
)
def test_one_that_it_would_refuse_is_found(words: Sequence[str]) -> None:
    assert refusal(words)
