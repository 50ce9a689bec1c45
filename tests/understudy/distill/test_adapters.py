"""Against a server that answers as vLLM 0.32 was recorded to."""

from collections.abc import Iterator

import pytest

from tests.fakes.adapters import AdapterServer
from tests.fakes.serving import closed_port_url, serving
from understudy.distill.adapters import Servers
from understudy.telling import CommandError


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[AdapterServer, str]]:
    server = AdapterServer()
    with serving(server) as url:
        yield server, url + "/v1"


@pytest.fixture
def vllm(running: tuple[AdapterServer, str]) -> tuple[AdapterServer, Servers]:
    server, url = running
    server.start_anew()
    server.paths = {"/adapters/g1"}
    return server, Servers((url,), "secret")


def refused(servers: Servers, path: str = "/adapters/g1") -> str:
    with pytest.raises(CommandError) as error:
        servers.load("small-g1", path)
    return str(error.value)


def test_an_adapter_is_loaded_under_its_version_with_the_student_s_key(
    vllm: tuple[AdapterServer, Servers],
) -> None:
    server, servers = vllm
    servers.load("small-g1", "/adapters/g1")
    assert server.loaded == {"small-g1": "/adapters/g1"}
    assert server.keys == {"Bearer secret"}


def test_what_is_loaded_already_from_there_is_fine(vllm: tuple[AdapterServer, Servers]) -> None:
    server, servers = vllm
    assert servers.load("small-g1", "/adapters/g1")
    assert not servers.load("small-g1", "/adapters/g1")
    assert server.loaded == {"small-g1": "/adapters/g1"}


def test_another_adapter_under_the_same_name_is_refused(
    vllm: tuple[AdapterServer, Servers],
) -> None:
    server, servers = vllm
    server.loaded["small-g1"] = "/adapters/old"
    assert "another adapter, '/adapters/old', is loaded there as small-g1" in refused(servers)


def test_a_server_that_takes_no_adapters_says_how_to_start_it(
    vllm: tuple[AdapterServer, Servers],
) -> None:
    server, servers = vllm
    server.has_route = False
    told = refused(servers)
    assert "--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in told
    assert "no route" in told


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ((401, "Unauthorized"), "student.api_key_env"),
        ((500, "LoRA is not enabled."), "--enable-lora"),
        ((500, "LoRA rank 64 is greater than max_lora_rank 16."), "--max-lora-rank"),
        ((503, "engine is dead"), "status 503: engine is dead"),
    ],
)
def test_each_refusal_says_what_to_mend(
    vllm: tuple[AdapterServer, Servers], refusal: tuple[int, str], told: str
) -> None:
    server, servers = vllm
    server.refusal = refusal
    assert told in refused(servers)


def test_a_path_is_the_server_s_own(vllm: tuple[AdapterServer, Servers]) -> None:
    told = refused(vllm[1], "/here/only")
    assert "No adapter found for /here/only" in told
    assert "a path that the server itself can read" in told


def test_a_server_that_is_not_there_is_told() -> None:
    told = refused(Servers((closed_port_url() + "/v1",), None))
    assert "not reached: Connection refused" in told


def test_every_server_loads_it_and_unloads_it(vllm: tuple[AdapterServer, Servers]) -> None:
    server, servers = vllm
    second = AdapterServer()
    second.paths = {"/adapters/g1"}
    with serving(second) as url:
        both = Servers((*servers.base_urls, url + "/v1/"), None)
        both.load("small-g1", "/adapters/g1")
        assert server.loaded == second.loaded == {"small-g1": "/adapters/g1"}
        both.unload("small-g1")
        assert server.loaded == second.loaded == {}


def test_where_one_of_several_servers_refuses_none_keeps_what_it_has_just_loaded() -> None:
    first, second = AdapterServer(), AdapterServer()
    first.paths = second.paths = {"/adapters/g1"}
    second.refusal = (500, "out of memory")
    with serving(first) as one, serving(second) as two:
        with pytest.raises(CommandError, match="out of memory"):
            Servers((f"{one}/v1", f"{two}/v1"), None).load("small-g1", "/adapters/g1")
        assert first.unloaded == ["small-g1"]
        first.loaded["small-g1"] = "/adapters/g1"
        with pytest.raises(CommandError, match="out of memory"):
            Servers((f"{one}/v1", f"{two}/v1"), None).load("small-g1", "/adapters/g1")
    assert first.loaded == {"small-g1": "/adapters/g1"}  # it was there before


def test_what_is_unloaded_already_is_fine(vllm: tuple[AdapterServer, Servers]) -> None:
    vllm[1].unload("small-g1")


def test_a_server_that_cannot_unload_is_told(vllm: tuple[AdapterServer, Servers]) -> None:
    server, servers = vllm
    server.refusal = (500, "engine is dead")
    with pytest.raises(CommandError, match="engine is dead"):
        servers.unload("small-g1")
