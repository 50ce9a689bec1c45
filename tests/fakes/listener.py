"""The official client, reading one stream in a thread of its own and noting what came when."""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk

PATIENCE_SECONDS = 20.0
WAIT_SECONDS = 5.0


class Listener:
    """One request, sent as soon as this is built.

    ``heard`` are the chunks, ``heard_at`` their times, ``headers`` those of the response.  A
    client that waits longer than ``patience`` for anything leaves: ``error`` says so then, and
    ``ended_at`` when.
    """

    wait_seconds = WAIT_SECONDS

    def __init__(
        self,
        url: str,
        question: Mapping[str, Any],
        *,
        is_async: bool,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.heard: list[ChatCompletionChunk] = []
        self.heard_at: list[float] = []
        self.headers: Mapping[str, str] = {}
        self.error: openai.OpenAIError | None = None
        self.ended_at: float | None = None
        self._client = _client(url, patience) | {"default_headers": headers or {}}
        self._question = {**question, "stream": True}
        self._is_leaving = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(is_async,), daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """All that was said so far."""
        return "".join(
            chunk.choices[0].delta.content or "" for chunk in self.heard if chunk.choices
        )

    @property
    def said(self) -> dict[str, Any]:
        """What the gateway says of the answer in its last chunk."""
        said: dict[str, Any] = (self.heard[-1].model_extra or {})["understudy"]
        return said

    @property
    def finish_reason(self) -> str | None:
        """How the answer ended."""
        reasons = [chunk.choices[0].finish_reason for chunk in self.heard if chunk.choices]
        return reasons[-1]

    def wait_for(self, text: str) -> float:
        """Wait until the client has heard exactly this, but for later words; when that was."""
        with self._changed:
            is_heard = self._changed.wait_for(
                lambda: self.text.startswith(text) or self.ended_at, WAIT_SECONDS
            )
            assert is_heard, f"heard only {self.text!r}"
            assert self.text.startswith(text), f"heard {self.text!r}, {self.error}"
            return self.heard_at[-1]

    def wait_for_chunks(self, count: int) -> None:
        """Wait until the client has heard so many chunks."""
        with self._changed:
            is_heard = self._changed.wait_for(lambda: len(self.heard) >= count, self.wait_seconds)
            assert is_heard, f"heard only {self.heard}"

    def wait_for_end(self) -> "Listener":
        """Wait until the response has ended, however."""
        with self._changed:
            is_over = self._changed.wait_for(lambda: self.ended_at, self.wait_seconds)
        assert is_over, f"heard {self.text!r} and no end"
        return self

    def whole(self) -> "Listener":
        """Wait for the end, which must be a good one."""
        self.wait_for_end()
        if self.error is not None:
            raise self.error
        return self

    def leave(self) -> None:
        """Hang up at the next chunk, and wait until that is done."""
        self._is_leaving = True
        self.wait_for_end()

    def join(self) -> None:
        """Wait until the thread is gone."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self, is_async: bool) -> None:
        try:
            if is_async:
                asyncio.run(self._listen_async())
            else:
                self._listen()
        except openai.OpenAIError as error:
            self.error = error
        finally:
            with self._changed:
                self.ended_at = time.monotonic()
                self._changed.notify_all()

    def _listen(self) -> None:
        with (
            openai.DefaultHttpxClient(verify=False) as http,  # nothing here has a certificate
            openai.OpenAI(http_client=http, **self._client) as client,
            client.chat.completions.create(**self._question) as stream,
        ):
            self.headers = stream.response.headers
            for chunk in stream:
                self._note(chunk)

    async def _listen_async(self) -> None:
        async with (
            openai.DefaultAsyncHttpxClient(verify=False) as http,
            openai.AsyncOpenAI(http_client=http, **self._client) as client,
            await client.chat.completions.create(**self._question) as stream,
        ):
            self.headers = stream.response.headers
            async for chunk in stream:
                self._note(chunk)

    def _note(self, chunk: ChatCompletionChunk) -> None:
        if self._is_leaving:
            raise openai.OpenAIError("It has left.")
        with self._changed:
            self.heard.append(chunk)
            self.heard_at.append(time.monotonic())
            self._changed.notify_all()


class PatientListener(Listener):
    """The same for a real model, which a busy machine may slow down tenfold."""

    wait_seconds = 60.0


def whole_answer(url: str, question: Mapping[str, Any], *, is_async: bool) -> ChatCompletion:
    """What the official client gets of a request that does not stream."""
    if is_async:
        return asyncio.run(_whole_answer(url, question))
    with (
        openai.DefaultHttpxClient(verify=False) as http,
        openai.OpenAI(http_client=http, **_client(url, PATIENCE_SECONDS)) as client,
    ):
        answer: ChatCompletion = client.chat.completions.create(**question)
        return answer


async def _whole_answer(url: str, question: Mapping[str, Any]) -> ChatCompletion:
    async with (
        openai.DefaultAsyncHttpxClient(verify=False) as http,
        openai.AsyncOpenAI(http_client=http, **_client(url, PATIENCE_SECONDS)) as client,
    ):
        answer: ChatCompletion = await client.chat.completions.create(**question)
        return answer


def _client(url: str, patience: float) -> dict[str, Any]:
    return {"base_url": url + "/v1", "api_key": "x", "max_retries": 0, "timeout": patience}
