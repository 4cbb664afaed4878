"""A PostgreSQL of one's own, that can be stopped, killed, frozen and cut off from the network.

It comes from pip (`pgserver`), listens on a socket in its own folder and nowhere else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Server:
    """A running PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        import pgserver

        self._folder = folder
        self._server = pgserver.get_server(  # type: ignore[attr-defined]
            folder, cleanup_mode="stop"
        )
        with (folder / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("fsync = off\nmax_connections = 200\n")  # the machine does not crash
        self._databases = 0
        self.restart()

    @property
    def socket(self) -> Path:
        """The folder of its socket."""
        return Path(self._server.get_postmaster_info().socket_dir)

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"study{self._databases}"
        self.ask(f"CREATE DATABASE {name}")
        return self.url(name)

    def empty(self, url: str) -> None:
        """Take everything out of a database, and everybody."""
        for pid in self.backends(url):
            self.ask(f"SELECT pg_terminate_backend({pid})")
        for statement in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public"):
            self.ask(statement, _name(url))

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.socket}"

    def ask(self, statement: str, database: str = "postgres") -> list[Any]:
        """The rows that it answers with."""
        import psycopg

        with psycopg.connect(
            host=str(self.socket), user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def stop(self, mode: str = "fast") -> None:
        """End it: `fast` in good order, `immediate` as in a crash."""
        self._control("-m", mode, "stop")

    def start(self) -> None:
        self._control(
            "-o", "-h ''", "-o", f"-k {self.socket}", "-l", str(self._folder / "log"), "start"
        )
        self._server.ensure_postgres_running()  # so that it knows the new process

    def _control(self, *arguments: str) -> None:
        import pgserver

        pgserver.pg_ctl(  # type: ignore[attr-defined]  # made when it is imported
            ["-w", "-t", "120", *arguments], pgdata=self._folder, user=self._server.system_user
        )

    def backends(self, url: str) -> list[int]:
        """The processes that serve the connections to a database."""
        rows = self.ask(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{_name(url)}' "
            "AND backend_type = 'client backend'"
        )
        return [pid for (pid,) in rows]

    @contextlib.contextmanager
    def frozen(self, url: str) -> Iterator[list[int]]:
        """Its processes for a database stand still meanwhile."""
        pids = self.backends(url)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield pids
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A PostgreSQL for the time of a block.

    Raises:
        ImportError: pgserver is not installed.
    """
    # not pytest's folder: others may not enter that, and root's PostgreSQL is another user's
    folder = Path(tempfile.mkdtemp(prefix="archspec-postgres-"))
    try:
        made = Server(folder)
        try:
            yield made
        finally:
            with contextlib.suppress(Exception):  # stopped already
                made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _name(url: str) -> str:
    """The database that a URL is of."""
    return url.partition("?")[0].rpartition("/")[2]


def missing() -> str | None:
    """Why there is no PostgreSQL to be had here."""
    try:
        import pgserver  # noqa: F401
        import psycopg  # noqa: F401
    except ImportError as error:
        return f"needs {error.name}"
    return None


# -- the network -----------------------------------------------------------------------------------

_ATTACH, _DETACH = 26, 27
"""Linux' SO_ATTACH_FILTER and SO_DETACH_FILTER."""


class Network:
    """A TCP port on loopback that leads to a server, and that can be cut like a cable.

    While it is cut, packets vanish on their way: those of open connections, keepalives among them,
    and those that ask for new ones. No end is told.
    """

    def __init__(self, server: Server) -> None:
        self._target = str(server.socket / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, self._woken)
        self._clients: set[socket.socket] = set()
        self._lock, self._is_cut, self._is_over = threading.Lock(), False, False
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def url(self, url: str) -> str:
        """The way to a database of the server through this port."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{_name(url)}"

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Nothing gets through meanwhile."""
        with self._lock:
            self._is_cut = True
            for end in (self._listener, *self._clients):
                _drop(end)
        try:
            yield
        finally:
            with self._lock:
                self._is_cut = False
                for end in (self._listener, *self._clients):
                    end.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
            self._wake.send(b"x")

    def close(self) -> None:
        self._is_over = True
        self._wake.send(b"x")
        self._thread.join()

    def _forward(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select():
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data is self._woken:
                        self._woken.recv(1)
                    elif not self._is_cut:
                        self._pass_on(key.fileobj, key.data)
            if self._is_cut and not self._is_over:
                threading.Event().wait(0.02)  # what is ready stays so
        for kept in list(self._selector.get_map().values()):
            kept.fileobj.close()  # type: ignore[union-attr]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        behind = socket.socket(socket.AF_UNIX)
        try:
            behind.connect(self._target)
        except OSError:  # the server is down
            client.close()
            behind.close()
            return
        self._clients.add(client)
        if self._is_cut:
            _drop(client)
        self._selector.register(client, selectors.EVENT_READ, behind)
        self._selector.register(behind, selectors.EVENT_READ, client)

    def _pass_on(self, source: Any, sink: socket.socket) -> None:
        if source.fileno() < 0:  # closed with its other end, a moment ago
            return
        try:
            content = source.recv(1 << 16)
            sink.sendall(content)
        except OSError:
            content = b""
        if not content:
            for end in (source, sink):
                self._selector.unregister(end)
                self._clients.discard(end)
                end.close()


def _drop(end: socket.socket) -> None:
    """Let the kernel throw away every packet for a socket, unanswered."""
    nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # return 0 bytes
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(nothing))
    end.setsockopt(socket.SOL_SOCKET, _ATTACH, program)
