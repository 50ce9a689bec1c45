"""An embedding model behind any OpenAI-compatible server.  Comparators read what it answers."""

from collections.abc import Mapping

import msgspec

from gateway.upstream.faults import NETWORK_ERRORS, fault_of, fault_of_status
from gateway.upstream.http1 import HttpClient

MAX_REPLY_BYTES = 16 * 2**20


class EmbeddingModel:
    """One embedding model at one endpoint."""

    def __init__(self, base_url: str, api_key: str | None, timeout_seconds: float) -> None:
        """``base_url`` ends in ``/v1`` or its like."""
        headers = {"content-type": "application/json"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._http = HttpClient(base_url.rstrip("/") + "/embeddings", headers)
        self._timeout_seconds = timeout_seconds

    async def embed(self, fields: Mapping[str, object]) -> bytes:
        """The reply's body.  Raises UpstreamError and UpstreamRefused as a chat model does."""
        try:
            status, reply = await self._http.post(
                msgspec.json.encode(fields), seconds=self._timeout_seconds, most=MAX_REPLY_BYTES
            )
        except NETWORK_ERRORS as failure:
            raise fault_of(failure) from failure
        if status != 200:
            raise fault_of_status(status, reply)
        return reply

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
