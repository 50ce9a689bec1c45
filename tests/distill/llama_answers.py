"""Run with xllamacpp installed: what llama.cpp answers, with the log-probability of each token.

``python llama_answers.py WEIGHTS.gguf`` reads a JSON list of questions on stdin.
"""

import json
import os
import sys
import urllib.request
from typing import Any

import xllamacpp


def main(weights: str) -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = weights
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = 1024
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.verbosity = 0
    parameters.ui = False
    server = xllamacpp.Server(parameters)
    answers = [asked(server.listening_address, question) for question in json.load(sys.stdin)]
    print(json.dumps(answers), flush=True)
    os._exit(0)  # its orderly end waits for nothing that matters


def asked(address: str, question: str) -> dict[str, Any]:
    body = {
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 24,
        "logprobs": True,
        "top_logprobs": 1,
    }
    request = urllib.request.Request(  # noqa: S310
        f"{address}/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        (choice,) = json.load(answer)["choices"]
    tokens = [each["logprob"] for each in choice["logprobs"]["content"]]
    return {"text": choice["message"]["content"], "logprobs": tokens}


if __name__ == "__main__":
    main(sys.argv[1])
