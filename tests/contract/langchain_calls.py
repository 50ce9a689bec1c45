"""A program that asks by LangChain: `python langchain_calls.py BASE_URL MODEL...`.

A program of its own, for it needs what is in `.venv/clients` alone.
"""

import asyncio
import sys
from typing import Any

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

QUESTION = "What is the capital of France? Answer in one word."


class Place(BaseModel):
    """An answer in a form of the client's own."""

    city: str
    country: str


def get_weather(city: str) -> str:
    """Get weather"""
    return f"Sunny in {city}."


async def ask(base_url: str, model: str) -> None:
    """Whole, streamed, async, with a tool, in a form, embedded."""
    chat: Any = ChatOpenAI(
        base_url=base_url, api_key="unused", model=model, temperature=0, max_tokens=64
    )
    whole = chat.invoke(QUESTION)
    assert whole.content
    assert whole.usage_metadata["output_tokens"] > 0
    chunks = list(chat.stream(QUESTION))
    assert "".join(chunk.content for chunk in chunks) == whole.content
    assert sum(bool(chunk.content) for chunk in chunks) > 1
    assert (await chat.ainvoke(QUESTION)).content == whole.content
    said = chat.bind_tools([get_weather]).invoke("Weather in Paris?")
    assert said.content or said.tool_calls
    form = chat.with_structured_output(Place, method="json_schema")
    assert "Paris" in form.invoke("Paris is in France. Give city and country as JSON.").city
    embed: Any = OpenAIEmbeddings(
        base_url=base_url, api_key="unused", model="embedder", check_embedding_ctx_length=False
    )
    assert len(embed.embed_query("hello")) > 100


async def main() -> None:
    """In one loop: the client keeps its connections from one model to the next."""
    for model in sys.argv[2:]:
        await ask(sys.argv[1], model)


if __name__ == "__main__":
    asyncio.run(main())
