"""A program that asks by LiteLLM's client: `python litellm_calls.py BASE_URL MODEL...`.

A program of its own, for it needs what is in `.venv/clients` alone.
"""

import asyncio
import sys
from typing import Any

import litellm

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
WEATHER = [{"role": "user", "content": "Weather in Paris?"}]
LOOK = {
    "name": "get_weather",
    "description": "Get weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


async def ask(base_url: str, model: str) -> None:
    """Whole, streamed, async, with a tool, as a message, as text, embedded."""
    at: dict[str, Any] = {"api_base": base_url, "api_key": "unused", "max_retries": 0}
    asked: dict[str, Any] = {"model": f"openai/{model}", "max_tokens": 16, "temperature": 0, **at}
    answer = litellm.completion(messages=QUESTION, **asked)
    whole = answer.choices[0].message.content
    assert whole
    assert answer.usage.completion_tokens > 0
    chunks = list(litellm.completion(messages=QUESTION, stream=True, **asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    again = await litellm.acompletion(messages=QUESTION, **asked)
    assert again.choices[0].message.content == whole
    tool = {"type": "function", "function": LOOK}
    said = litellm.completion(messages=WEATHER, tools=[tool], **asked).choices[0].message
    assert said.content or said.tool_calls
    responded = litellm.responses(
        model=f"openai/{model}", input=QUESTION[0]["content"], temperature=0, **at
    )
    assert responded.output
    embedded = litellm.embedding(model="openai/embedder", input=["hello"], **at)
    assert len(embedded.data[0]["embedding"]) > 100
    message: Any = await litellm.anthropic.messages.acreate(
        model=f"anthropic/{model}",
        messages=QUESTION,
        max_tokens=16,
        api_base=base_url.removesuffix("/v1"),
        api_key="unused",
    )
    assert message["content"][0]["text"]
    try:
        litellm.completion(messages=QUESTION, **(asked | {"model": "openai/nobody"}))
    except litellm.NotFoundError:
        return
    raise AssertionError("a model that there is not has answered")


async def main() -> None:
    """In one loop: the client keeps its connections from one model to the next."""
    for model in sys.argv[2:]:
        await ask(sys.argv[1], model)


if __name__ == "__main__":
    asyncio.run(main())
