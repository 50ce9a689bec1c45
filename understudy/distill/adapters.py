"""vLLM's routes to load and unload an adapter while it serves, and what its refusals mean."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.roots import root_of, words_of
from understudy.telling import CommandError

# A large adapter comes over a network's file system.
LOAD_SECONDS = 300.0
_TO_MEND = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"


@dataclass(frozen=True, slots=True)
class Servers:
    """The student's servers, each with its address up to ``/v1``, and their key."""

    base_urls: Sequence[str]
    key: str | None

    def load(self, version: str, path: str) -> bool:
        """Have each of them serve the adapter at ``path`` under the version's name.

        Says whether any of them had to load it.  One that has it already, from that path, is
        content.  Raises CommandError; those that loaded it for this have forgotten it then.
        """
        loaded: list[str] = []
        try:
            for base_url in self.base_urls:
                if self._load(base_url, version, path):
                    loaded.append(base_url)
        except CommandError:
            with suppress(CommandError):
                Servers(loaded, self.key).unload(version)
            raise
        return bool(loaded)

    def _load(self, base_url: str, version: str, path: str) -> bool:
        fields = {"lora_name": version, "lora_path": path}
        response = self._post(base_url, "/load_lora_adapter", fields)
        if response.status_code == 200:
            return True
        said = _said(response)
        if response.status_code == 400 and "already been loaded" in said:
            there = self._root_of(base_url, version)
            if there == path:
                return False
            raise CommandError(
                f"{base_url}: another adapter, {there!r}, is loaded there as {version}: unload it, "
                f"or name its path"
            )
        raise CommandError(f"{base_url}: {_advice(response.status_code, said, path)}")

    def unload(self, version: str) -> None:
        """Have each of them forget an adapter; one that has none of that name is content.

        Raises CommandError.
        """
        for base_url in self.base_urls:
            response = self._post(base_url, "/unload_lora_adapter", {"lora_name": version})
            said = _said(response)
            is_gone = response.status_code == 404 and "cannot be found" in said
            if response.status_code != 200 and not is_gone:
                raise CommandError(f"{base_url}: {_advice(response.status_code, said, version)}")

    def _root_of(self, base_url: str, version: str) -> str | None:
        """From where an adapter was loaded."""
        response = self._send("GET", base_url, "/models", None)
        try:
            entries = response.json()["data"]
            return next((one.get("root") for one in entries if one.get("id") == version), None)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _post(self, base_url: str, path: str, fields: dict[str, str]) -> httpx.Response:
        return self._send("POST", base_url, path, fields)

    def _send(
        self, method: str, base_url: str, path: str, fields: dict[str, str] | None
    ) -> httpx.Response:
        headers = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        try:
            with httpx.Client(timeout=LOAD_SECONDS, trust_env=False) as client:
                url = base_url.rstrip("/") + path
                return client.request(method, url, json=fields, headers=headers)
        except httpx.HTTPError as error:
            root = root_of(error)
            words = words_of(root) or str(root) or type(error).__name__
            raise CommandError(f"{base_url}: not reached: {words}") from None


def _said(response: httpx.Response) -> str:
    """What a server says of an error, in whatever form."""
    try:
        body: Any = response.json()
    except ValueError:
        return response.text[:500]
    if not isinstance(body, dict):
        return str(body)[:500]
    error = body.get("error", body.get("message"))
    if isinstance(error, dict):
        error = error.get("message")
    return str(body if error is None else error)[:500]


def _advice(status: int, said: str, path: str) -> str:
    lower = said.lower()
    if status in (401, 403):
        return f"it wants another key (status {status}): see student.api_key_env"
    if status in (404, 405) and not any(word in lower for word in ("lora", "adapter")):
        return f"it has no route to load adapters (status {status}): {_TO_MEND}"
    if "lora is not enabled" in lower or "enable_lora" in lower:
        return f"{said}: {_TO_MEND}"
    if "rank" in lower:
        return f"{said}: start vLLM with a larger --max-lora-rank"
    if status == 404:
        return f"{said}: {path!r} must be a path that the server itself can read"
    return f"status {status}: {said}"
