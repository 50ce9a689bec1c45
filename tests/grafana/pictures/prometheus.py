"""A server that answers like a Prometheus: whatever it is told to, and notes what it was asked."""

import contextlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Answering:
    """``results`` are what every query finds; a query with ``refused`` in it is refused."""

    def __init__(self, results: list[dict[str, Any]], refused: str = "no such thing") -> None:
        self.results = results
        self.refused = refused
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""


@contextlib.contextmanager
def answering(results: list[dict[str, Any]], refused: str = "no such thing") -> Iterator[Answering]:
    """A server for the time of the block."""
    known = Answering(results, refused)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            asked = dict(urllib.parse.parse_qsl(body))
            known.asked.append((self.path, asked))
            is_refused = known.refused in asked["query"]
            kind = "matrix" if self.path.endswith("query_range") else "vector"
            told: dict[str, Any] = {"data": {"resultType": kind, "result": known.results}}
            if is_refused:
                told = {"status": "error", "error": "parse error"}
            self.send_response(400 if is_refused else 200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        known.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield known
        finally:
            server.shutdown()
            thread.join()
