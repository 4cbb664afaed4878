"""A web server on this machine, with the faults that real ones have."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """What stands under each path, and what was asked for."""

    address: str
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Paths, and the headers of each request."""

    def put(self, path: str, reply: Reply) -> str:
        """The address of what stands there."""
        self.replies[path] = reply
        return self.address + path


def sending(
    content: bytes, *, cut: int | None = None, kind: str = "application/octet-stream",
    etag: str | None = '"v1"', length: bool = True, status: int = 200,
) -> Reply:  # fmt: skip
    """Send a file; `cut`: break off after so many bytes. Goes on where it is asked to."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        start = 0
        asked = request.headers.get("Range")
        if asked is not None and etag is not None and request.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start > len(content):
            request.send_response(416)
            request.end_headers()
            return
        request.send_response(206 if start else status)
        request.send_header("Content-Type", kind)
        if etag is not None:
            request.send_header("ETag", etag)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if length:
            request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start:cut])

    return reply


def redirecting(target: str, status: int = 302, **headers: str) -> Reply:
    """Send elsewhere; headers with `_` for `-`."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Location", target)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    return reply


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    """A server for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append((self.path, dict(self.headers)))
            reply = web.replies.get(self.path)
            if reply is None:
                self.send_error(404)
            else:
                reply(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
