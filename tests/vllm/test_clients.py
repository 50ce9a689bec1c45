"""The official clients, against a gateway before a real vLLM."""

from collections.abc import Callable, Iterator

import pytest

from tests.contract import anthropic_calls, openai_calls
from tests.fakes.drop_in import Endpoint, Server, drop_in
from tests.fakes.other_clients import PROGRAMS, ask_by
from tests.fakes.real_student import real_embedder

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def endpoint(
    vllm_url: str, vllm_model: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """Embeddings are another server's: a vLLM that pools is no model that writes."""
    server = Server(vllm_url, vllm_model, calls_tools=True)
    folder = tmp_path_factory.mktemp("clients")
    with real_embedder() as embedder, drop_in(folder, {"assistant": server}, embedder) as found:
        yield found["assistant"]


@pytest.mark.parametrize("call", openai_calls.CALLS, ids=lambda call: call.__name__)
def test_openais_client_gets_what_it_asks_for(
    endpoint: Endpoint, call: Callable[[Endpoint], None]
) -> None:
    call(endpoint)


@pytest.mark.parametrize("call", anthropic_calls.CALLS, ids=lambda call: call.__name__)
def test_anthropics_client_gets_what_it_asks_for(
    endpoint: Endpoint, call: Callable[[Endpoint], None]
) -> None:
    call(endpoint)


@pytest.mark.full
@pytest.mark.parametrize("program", PROGRAMS)
def test_clients_of_other_makers_get_what_they_ask_for(endpoint: Endpoint, program: str) -> None:
    ask_by(program, endpoint.base_url, endpoint.model)
