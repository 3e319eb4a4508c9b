"""Every test here has an empty cache, no mirror and no data folder of its own, unless it asks."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdnas.data.sources import SOURCES, Source

Register = Callable[..., Source]


@pytest.fixture(autouse=True)
def cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path | None:
    """The folder of the cache, which does not exist yet."""
    if request.node.get_closest_marker("data"):
        return None
    folder = tmp_path / "cache"
    monkeypatch.setenv("PDNAS_CACHE", str(folder))
    monkeypatch.delenv("PDNAS_MIRROR", raising=False)
    monkeypatch.delenv("PDNAS_DATA", raising=False)
    return folder


class Server:
    """A web server on this machine that counts its requests."""

    def __init__(self) -> None:
        self.content: bytes | None = None  # None: 404
        self.cut = 0  # bytes that it promises but does not send
        self.requests = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                if server.content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.content) + server.cut))
                self.end_headers()
                self.wfile.write(server.content)

            def log_message(self, *arguments: object) -> None:
                """Keep the test's output clean."""

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Add a source to the table: ``register(content, origin, name=..., filename=...)``."""

    def add(
        content: bytes, origin: str, name: str = "thing", filename: str = "thing.bin"
    ) -> Source:
        source = Source(
            name=name,
            filename=filename,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            origin=origin,
            licence="MIT",
            description="a test's own file",
        )
        monkeypatch.setitem(SOURCES, name, source)
        return source

    return add
