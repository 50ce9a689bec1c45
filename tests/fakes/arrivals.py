"""When the pieces of a streamed answer arrive at a client."""

import json
import time
from typing import Any

import httpx

from tests.fakes.serving import PLAIN_HTTP


def arrivals(url: str, question: dict[str, Any]) -> tuple[list[float], str]:
    """Seconds until each text chunk came, and the text."""
    started, seconds, text = time.perf_counter(), [], ""
    with (
        httpx.Client(timeout=30, trust_env=False, verify=PLAIN_HTTP) as client,
        client.stream("POST", url, json=question) as response,
    ):
        for line in response.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and (piece := choices[0]["delta"].get("content")):
                    seconds.append(time.perf_counter() - started)
                    text += piece
    return seconds, text
