"""The official clients, against a gateway before a real small model: SmolLM2 behind llama.cpp.

tests/contract asks the same before what such servers said once, and before scripted models.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.contract import anthropic_calls, openai_calls
from tests.fakes.drop_in import Endpoint, Server, drop_in
from tests.fakes.other_clients import PROGRAMS, ask_by
from tests.fakes.real_student import real_embedder, real_student

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with real_student() as url, real_embedder() as embedder:
        server = {"assistant": Server(url)}
        with drop_in(tmp_path_factory.mktemp("clients"), server, embedder) as found:
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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", PROGRAMS)
def test_clients_of_other_makers_get_what_they_ask_for(endpoint: Endpoint, program: str) -> None:
    ask_by(program, endpoint.base_url, endpoint.model)
