"""A gateway as clients find it: one process, its store, and a cascade for each model server."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.serving import cascade_document
from tests.fakes.valkey import store_server
from tests.wire_server.process import process_serving

EMBEDDER = "embedder"


@dataclass(frozen=True)
class Server:
    """A model server: its address without /v1, and its word for the model.

    ``calls_tools``: its model calls one where it must; llama.cpp leaves that to the chat template.
    """

    url: str
    model: str = "student"
    calls_tools: bool = False

    @property
    def most_tokens_of_a_call(self) -> int:
        """So many are enough for one; who makes none need not write much."""
        return 64 if self.calls_tools else 8


@dataclass(frozen=True)
class Endpoint:
    """What a client has to know: the gateway's address without /v1, and the model's name."""

    url: str
    model: str
    server: Server

    @property
    def base_url(self) -> str:
        """OpenAI's clients want that."""
        return f"{self.url}/v1"


@contextlib.contextmanager
def drop_in(
    folder: Path, servers: Mapping[str, Server], embedder_url: str
) -> Iterator[Mapping[str, Endpoint]]:
    """Serve a cascade for each server, which is student and teacher both, and keeps its drafts."""
    cascades = {
        name: cascade_document(
            server.url,
            server.url,
            student={"model": server.model},
            teacher={"model": server.model},
            objective={"kind": "confidence", "at_least": 0},
            stored={"enabled": True},
        )
        for name, server in servers.items()
    }
    embedder = {"base_url": f"{embedder_url}/v1", "model": "emb", "serves": ["embeddings"]}
    document = {"cascades": cascades, "models": {EMBEDDER: embedder}}
    (folder / "store").mkdir()
    with (
        store_server(folder / "store") as store,
        process_serving(folder, document, UNDERSTUDY_REDIS_URL=store.url) as gateway,
    ):
        yield {name: Endpoint(gateway.url, name, server) for name, server in servers.items()}
