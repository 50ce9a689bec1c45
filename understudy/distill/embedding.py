"""Texts as vectors, by an embedding model behind an OpenAI-compatible server."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from cyclopts import Parameter

from distill.vectors import Vectors, unit
from gateway.errors import UpstreamError, UpstreamRefused
from gateway.settings import read_secret
from gateway.upstream.embeddings import EmbeddingModel
from understudy.telling import CommandError

BATCH_TEXTS = 64
TIMEOUT_SECONDS = 120.0


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Embedder:
    """Where embeddings of prompts are had; without it prompts are told apart by their words.

    Parameters
    ----------
    embeddings_url
        An OpenAI-compatible server, such as http://127.0.0.1:8002/v1.
    embeddings_model
        The model's name there.
    embeddings_key_env
        The environment variable that holds the server's key, where it wants one.
    """

    embeddings_url: str | None = None
    embeddings_model: str | None = None
    embeddings_key_env: str | None = None

    @property
    def name(self) -> str | None:
        """How the vectors are called; None where there is no embedder.  Raises CommandError."""
        if (self.embeddings_url is None) is not (self.embeddings_model is None):
            raise CommandError("--embeddings-url and --embeddings-model go together: say both")
        return None if self.embeddings_model is None else f"embeddings of {self.embeddings_model}"

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Rows of length 1.  Raises CommandError where the server does not do."""
        key = None
        if self.embeddings_key_env is not None:
            key = read_secret(self.embeddings_key_env)
            if not key:
                raise CommandError(
                    f"--embeddings-key-env: the environment has no {self.embeddings_key_env}"
                )
        return asyncio.run(self._vectors(texts, key))

    async def _vectors(self, texts: Sequence[str], key: str | None) -> Vectors:
        model = EmbeddingModel(str(self.embeddings_url), key, TIMEOUT_SECONDS)
        rows: list[list[float]] = []
        try:
            for start in range(0, len(texts), BATCH_TEXTS):
                batch = list(texts[start : start + BATCH_TEXTS])
                reply = await model.embed({"model": self.embeddings_model, "input": batch})
                rows += _rows(reply, len(batch))
        except (UpstreamError, UpstreamRefused) as failure:
            told = failure.message if isinstance(failure, UpstreamRefused) else failure.detail()
            raise CommandError(f"--embeddings-url: {told}") from None
        finally:
            model.close()
            await asyncio.sleep(0)  # an aborted connection is closed in the loop's next round
        if len({len(row) for row in rows}) > 1:
            raise CommandError("--embeddings-url: the server's vectors differ in length")
        return unit(np.array(rows, dtype=np.float64))


class _Row(msgspec.Struct):
    index: int
    embedding: list[float]


class _Reply(msgspec.Struct):
    data: list[_Row]


def _rows(reply: bytes, wanted: int) -> list[list[float]]:
    try:
        found = msgspec.json.decode(reply, type=_Reply).data
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CommandError("--embeddings-url: the server's reply holds no embeddings") from None
    by_index = {row.index: row.embedding for row in found}
    if sorted(by_index) != list(range(wanted)) or not all(by_index.values()):
        raise CommandError(
            f"--embeddings-url: asked for {wanted} embeddings, the server sent {len(found)}"
        )
    return [by_index[place] for place in range(wanted)]
