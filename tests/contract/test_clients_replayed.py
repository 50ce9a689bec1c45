"""The official clients, against a gateway before servers that replay what real ones said."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.contract import anthropic_calls, openai_calls
from tests.fakes.drop_in import Endpoint, Server, drop_in
from tests.fakes.other_clients import PROGRAMS, ask_by
from tests.fakes.recorded_server import RecordedEmbedder, RecordedServer
from tests.fakes.recordings import RECORDINGS, missing
from tests.fakes.serving import serving

FOLDERS = {"vllm": "vllm-0.32.0-tools", "llama": "xllamacpp"}


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Endpoint]]:
    if not RECORDINGS.exists():
        pytest.skip(str(missing.kwargs["reason"]))
    with (
        serving(RecordedServer(FOLDERS["vllm"])) as vllm,
        serving(RecordedServer(FOLDERS["llama"])) as llama,
        serving(RecordedEmbedder()) as embedder,
    ):
        servers = {"vllm": Server(vllm, calls_tools=True), "llama": Server(llama)}
        with drop_in(tmp_path_factory.mktemp("replayed"), servers, embedder) as found:
            yield found


@pytest.mark.parametrize("server", FOLDERS)
@pytest.mark.parametrize("call", openai_calls.CALLS, ids=lambda call: call.__name__)
def test_openais_client_gets_what_it_asks_for(
    endpoints: Mapping[str, Endpoint], call: Callable[[Endpoint], None], server: str
) -> None:
    call(endpoints[server])


@pytest.mark.parametrize("server", FOLDERS)
@pytest.mark.parametrize("call", anthropic_calls.CALLS, ids=lambda call: call.__name__)
def test_anthropics_client_gets_what_it_asks_for(
    endpoints: Mapping[str, Endpoint], call: Callable[[Endpoint], None], server: str
) -> None:
    call(endpoints[server])


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", PROGRAMS)
def test_clients_of_other_makers_get_what_they_ask_for(
    endpoints: Mapping[str, Endpoint], program: str
) -> None:
    ask_by(program, endpoints["vllm"].base_url, *endpoints)
