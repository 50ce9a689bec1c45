"""The demo's student as an embedder, a process of its own: `-m tests.fakes.embedding_student PORT`.

A pooling server as it is asked for embeddings, and no good one.
"""

import sys
import threading

import xllamacpp

from understudy.demo.lifeline import follow_parent
from understudy.demo.student import find_weights


def main() -> None:
    """Serve until killed."""
    follow_parent()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(find_weights())
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(sys.argv[1])
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.verbosity = 0
    parameters.ui = False
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(parameters)
    print(f"embedder: {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
