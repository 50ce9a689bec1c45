"""The images of deploy/images: their definitions are sound, agree with each other and with who runs
them, and the gateway's is built here, line by line, and serves."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from deploy.images.healthy import problem
from gateway.settings import Settings
from tests.deploy.building import Built, build
from tests.deploy.containers import host, stop
from tests.deploy.dockerfiles import (
    IMAGES,
    ROOT,
    Image,
    context_of,
    expanded,
    image_of,
    stages_of,
)
from tests.fakes.serving import closed_port_url, serving, wait_until

DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
NAMES = [path.parent.name for path in DOCKERFILES]
GATEWAY = IMAGES / "gateway/Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (IMAGES / "README.md").read_text()
MB = 10**6
# Of glibc and gcc; this machine may have more, such as libgomp, and would hide that one is missing.
IN_THE_BASE_IMAGE = {
    *("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"),
    *("libgcc_s.so.1", "libstdc++.so.6"),
}

every_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=NAMES)


# --- what the files say -----------------------------------------------------------------------


def test_there_are_the_images_that_manifests_name() -> None:
    assert NAMES == ["demo", "distill", "gateway"]


@every_dockerfile
def test_the_linter_has_nothing_to_say(path: Path) -> None:
    places = f"{Path(sys.executable).parent}:{Path('/usr/bin')}:{Path('/usr/local/bin')}"
    hadolint = shutil.which("hadolint", path=places)
    if hadolint is None:
        pytest.skip("no hadolint here (requirements/tools.txt): no Dockerfile was linted")
    ran = subprocess.run(
        [hadolint, "--no-color", str(path)], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@every_dockerfile
def test_every_stage_is_of_one_base_pinned_by_tag_and_digest(path: Path) -> None:
    (base,) = {stage.base for stage in stages_of(path)}
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}", base)
    assert base == stages_of(GATEWAY)[0].base


@every_dockerfile
def test_nothing_but_what_is_locked_is_installed(path: Path) -> None:
    lines = [line for stage in stages_of(path) for one in stage.all("RUN") for line in
             one.value.split(" && ") if "pip" in line and " install " in line]  # fmt: skip
    free = [line for line in lines if not {"--require-hashes", "--no-index"} & set(line.split())]
    # torch cannot be locked; what comes with it may change nothing that is.
    pinned = ["--constraint constraints.txt --requirement requirements/distill.txt"]
    assert len(lines) >= 3
    assert len(free) == len(pinned) * (path.parent.name == "distill")
    assert all(line.endswith(end) for line, end in zip(free, pinned, strict=False))


@every_dockerfile
def test_all_that_is_copied_is_sent_to_the_builder(path: Path) -> None:
    sent = set(context_of(path))
    for stage in stages_of(path):
        for copy in stage.all("COPY"):
            if copy.value.startswith("--from="):
                continue
            for source in copy.words[:-1]:
                name = Path(expanded(source, stage.variables()))
                assert any(name in (file, *file.parents) for file in sent), name
    assert not [file for file in sent if {"tests", "bench", ".git"} & set(file.parts)]


@every_dockerfile
def test_the_wheel_is_made_of_all_its_packages(path: Path) -> None:
    words = [word for one in stages_of(path)[0].all("COPY") for word in one.words[:-1]]
    copied = {word for word in words if (ROOT / word).is_dir()}
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]
    assert copied == set(targets["wheel"]["packages"])


@every_dockerfile
def test_an_image_runs_as_nobody_in_particular_and_says_what_it_is(path: Path) -> None:
    image = image_of(path)
    assert image.user == "10001:10001"
    assert stages_of(path)[-1].last("STOPSIGNAL").value == "SIGTERM"
    assert image.labels["org.opencontainers.image.version"] == PROJECT["version"]
    assert image.labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert image.labels["org.opencontainers.image.title"] == f"understudy-{path.parent.name}"
    assert image.environment["PYTHONDONTWRITEBYTECODE"] == "1", "its root file system is read-only"


@every_dockerfile
def test_the_readme_builds_it_by_the_name_that_others_use(path: Path) -> None:
    name = path.parent.name
    tag = f"understudy-{name}:{PROJECT['version']}"
    assert f"--file deploy/images/{name}/Dockerfile --tag {tag} ." in README


# --- who runs them ----------------------------------------------------------------------------


def container_of(manifest: str, kind: str) -> dict[str, Any]:
    """The only container of the only manifest of a kind in a file."""
    path = ROOT / "deploy/kustomize" / manifest
    found = [one for one in yaml.safe_load_all(path.read_text()) if one["kind"] == kind]
    (one,) = found
    pod: dict[str, Any] = one["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return {**container, "pod": pod}


def assert_runs(container: dict[str, Any], image: Image) -> None:
    """A manifest's container starts what the image would, as the image's user, at its ports."""
    assert container["image"] == f"{image.labels['org.opencontainers.image.title']}:0.1.0"
    user, group = map(int, image.user.split(":"))
    security = container["pod"]["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (user, group)
    assert {port["containerPort"] for port in container["ports"]} == image.ports


def test_the_gateways_manifest_runs_what_the_image_would() -> None:
    container, image = container_of("base/gateway.yaml", "StatefulSet"), image_of(GATEWAY)
    assert_runs(container, image)
    assert container["command"] + container["args"] == image.entrypoint + image.command
    said = {one["name"]: one.get("value") for one in container["env"]}
    settings = {name: value for name, value in image.environment.items() if "UNDERSTUDY" in name}
    assert settings
    assert settings.items() <= said.items()
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    assert set(image.volumes) == {settings["UNDERSTUDY_STATE_DIR"]} <= mounts
    for name in ("UNDERSTUDY_CONFIG", "UNDERSTUDY_KEYS_FILE"):
        assert str(Path(settings[name]).parent) in mounts


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_the_demos_manifests_run_what_the_image_has(name: str) -> None:
    container = container_of(f"overlays/dev/{name}.yaml", "Deployment")
    image = image_of(IMAGES / "demo/Dockerfile")
    assert_runs(container, image)
    command = container["command"] + container["args"]
    assert command[:2] == image.entrypoint
    assert importlib.util.find_spec(command[2]) is not None
    assert image.health is not None
    assert {int(image.health[-1])} == image.ports


def test_the_gateways_ports_are_those_of_its_settings() -> None:
    image = image_of(GATEWAY)
    names = ("UNDERSTUDY_PORT", "UNDERSTUDY_OPS_PORT")
    assert {int(image.environment[name]) for name in names} == image.ports


def test_every_setting_in_the_image_is_one() -> None:
    known = {f"UNDERSTUDY_{name.upper()}" for name in Settings.model_fields}
    said = {name for name in image_of(GATEWAY).environment if name.startswith("UNDERSTUDY_")}
    assert said <= known


# --- the question of HEALTHCHECK --------------------------------------------------------------


@pytest.mark.parametrize(("status", "told"), [(200, None), (503, "status 503")])
def test_health_is_the_status_of_the_server(status: int, told: str | None) -> None:
    async def answer(_request: object) -> Response:
        return Response(status_code=status)

    with serving(Starlette(routes=[Route("/health", answer)])) as url:
        assert problem(int(url.rpartition(":")[2])) == told


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    told = problem(int(closed_port_url().rpartition(":")[2]))
    assert told is not None
    assert "refused" in told


# --- the image itself -------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_gateways_image_is_built_as_its_dockerfile_says_and_serves(tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    layers.mkdir()
    with host(layers) as made:
        built = build(made, GATEWAY)
        assert_is_as_small_as_documented(built)
        assert_has_no_pip_and_nothing_uncompiled(built)
        assert_needs_no_library_that_the_base_lacks(built)
        assert_holds_exactly_its_lock_and_our_wheel(built)
        assert_serves_on_a_read_only_root(built, tmp_path)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_demos_image_is_built_as_its_dockerfile_says_and_both_models_serve(
    tmp_path: Path,
) -> None:
    layers = tmp_path / "layers"
    layers.mkdir()
    with host(layers) as made:
        built = build(made, IMAGES / "demo/Dockerfile")
        assert_needs_no_library_that_the_base_lacks(built, "libgomp.so.1")
        built.root.seal()
        image = built.image
        for command in (image.command, ["understudy.demo.teacher", *image.command[1:]]):
            log = tmp_path / "log"
            with built.root.started(image.entrypoint + command, built.manner(), log) as process:
                wait_until(is_well(built), seconds=60)
                # uvicorn ends by the signal that it was told to end by.
                assert stop(process) in (0, -signal.SIGTERM), log.read_text()


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_distillation_image_is_built_as_its_dockerfile_says_and_trains(tmp_path: Path) -> None:
    if not os.environ.get("UNDERSTUDY_TEST_DISTILL_IMAGE"):
        pytest.skip("fetches torch, some GB: UNDERSTUDY_TEST_DISTILL_IMAGE=1 has it built")
    layers, scratch = tmp_path / "layers", tmp_path / "scratch"
    layers.mkdir()
    scratch.mkdir()
    scratch.chmod(0o1777)
    with host(layers) as made:
        built = build(made, IMAGES / "distill/Dockerfile")
        built.root.mount(scratch, "/tmp", is_read_only=False)
        built.root.seal()
        image, manner = built.image, built.manner()
        assert "train" in built.root.run(image.entrypoint + image.command, manner)
        built.root.run(
            ["python", "-c", "import distill.training.trainers, peft, torch, trl"], manner
        )


def is_well(built: Built) -> Callable[[], bool]:
    """Whether HEALTHCHECK is content."""
    health = built.image.health or []
    return lambda: built.root.tried(health, built.manner()).returncode == 0


def documented(what: str) -> float:
    """A size in the README's table, in MB."""
    found = re.search(rf"^\| {re.escape(what)} \| ([\d.]+) MB", README, re.MULTILINE)
    assert found is not None, what
    return float(found[1])


def assert_is_as_small_as_documented(built: Built) -> None:
    base, ours = documented("base image"), documented("gateway: ours")
    measured = built.root.bytes_written() / MB
    assert base + measured < 200
    assert measured == pytest.approx(ours, rel=0.1), "say it in deploy/images/README.md"


def assert_has_no_pip_and_nothing_uncompiled(built: Built) -> None:
    manner = built.manner()
    assert "No module named pip" in built.root.tried(["python", "-m", "pip"], manner).stderr
    script = """
import sys
from pathlib import Path
import understudy.serve
loaded = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
print([spec.name for spec in loaded if spec and spec.cached and not Path(spec.cached).exists()])
"""
    assert built.root.run(["python", "-c", script], manner).strip() == "[]"


def assert_needs_no_library_that_the_base_lacks(built: Built, *installed: str) -> None:
    found = built.root.run(["sh", "-c", "find /opt/understudy -name '*.so*' -exec ldd '{}' +"])
    needed = set(re.findall(r"^\s+(lib\S+) => (?!/opt/understudy/)", found, re.MULTILINE))
    assert "libc.so.6" in needed
    assert needed - {*installed} <= IN_THE_BASE_IMAGE
    assert {*installed} <= needed


def assert_holds_exactly_its_lock_and_our_wheel(built: Built) -> None:
    script = """
import importlib.metadata, re
for one in importlib.metadata.distributions():
    print(re.sub("[-_.]+", "-", one.name).lower() + "==" + one.version)
"""
    found = set(built.root.run(["python", "-c", script], built.manner()).split())
    lock = ROOT / "requirements" / stages_of(GATEWAY)[0].variables()["LOCK"]
    locked = set(re.findall(r"^[a-z0-9-]+==\S+", lock.read_text(), re.MULTILINE))
    assert found - locked == {f"understudy=={PROJECT['version']}"}
    # What of the lock is not there is for other platforms or Pythons.
    assert len(locked - found) <= 3, locked - found


def assert_serves_on_a_read_only_root(built: Built, folder: Path) -> None:
    image, root, manner = built.image, built.root, built.manner()
    config, state, log = folder / "etc", folder / "state", folder / "log"
    (config / "keys").mkdir(parents=True)
    shutil.copy(ROOT / "deploy/kustomize/overlays/dev/cascades.yaml", config)
    (config / "keys/keys.yaml").write_text(f"keys: [{{name: a, sha256: '{'0' * 64}'}}]")
    state.mkdir(mode=0o700)
    os.chown(state, *map(int, image.user.split(":")))
    root.mount(config, "/etc/understudy", is_read_only=True)
    root.mount(state, image.environment["UNDERSTUDY_STATE_DIR"], is_read_only=False)
    root.seal()
    assert image.health is not None
    with root.started(image.entrypoint + image.command, manner, log) as process:
        wait_until(lambda: b"listening" in log.read_bytes() or process.poll() is not None)
        assert root.tried(image.health, manner).returncode == 0, log.read_text()
        assert stop(process) == 0
    assert root.tried(image.health, manner).returncode == 1
    assert any(state.iterdir()), "the journal is on the volume"
