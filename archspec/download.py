"""A file from the web: whole or not at all, gone on with where it was cut, its hash checked."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO, Any, Literal

from archspec.errors import ArchspecError
from archspec.files import make_folder, sha256, writing

TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""
BLOCK = 1 << 16
"""Bytes that are read at once, at most."""
MAX_REDIRECTS = 5
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Progress = Callable[[int, int | None], None]
"""Told how many bytes are there, and how many there are going to be, where that is known."""
Voucher = Literal["spec", "server"]


class DownloadError(ArchspecError):
    """A file cannot be had from where it should be, or is not the one that it should be."""


@dataclass(frozen=True)
class Downloaded:
    """A file that came whole."""

    sha256: str
    """In hexadecimal."""
    size: int
    """In bytes."""
    vouched_by: Voucher | None
    """Who said what its hash should be: whoever asked for it, the server, or nobody."""


def download(
    url: str, path: Path, *, digest: str | None = None, progress: Progress | None = None
) -> Downloaded:
    """Bring a file here.

    What has arrived when a connection breaks stays beside `path`, and the next call goes on from
    there if the server still has the same file. A call for the same path waits for an earlier one.

    Args:
        url: https; http only on this machine itself.
        path: where the file is to be; one that is there is replaced.
        digest: its SHA-256 in hexadecimal, or how that begins. None: the one that the server
            states, as Hugging Face does for large files.

    Raises:
        DownloadError: it cannot be reached, is not there, comes cut short or is another file.
        ArchspecError: it cannot be written.
    """
    from filelock import FileLock

    make_folder(path.parent)
    with writing(path), FileLock(f"{path}.lock"):
        return _Download(url, path, digest, progress or (lambda here, total: None)).run()


@dataclass
class _Download:
    url: str
    path: Path
    digest: str | None
    progress: Progress
    part: Path = field(init=False)
    facts: Path = field(init=False)
    """Which version of the file `part` is the beginning of."""

    def __post_init__(self) -> None:
        self.part = self.path.with_name(f"{self.path.name}.part")
        self.facts = self.path.with_name(f"{self.path.name}.part.json")

    def run(self) -> Downloaded:
        _check_scheme(self.url, self.url)
        try:
            with self._open() as answer:
                stated = answer.stated
                self._check_answer(answer)
                self._copy(answer)
        except urllib.error.HTTPError as error:
            raise self._error(_status(error)) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        return self._finish(stated)

    # -- asking ----------------------------------------------------------------------------------

    def _open(self) -> _Answer:
        """The server's answer; of what is not here yet, where it can go on."""
        headers = {"User-Agent": "archspec", "Accept-Encoding": "identity"}
        start, version = self._kept()
        if start:
            # the rest of this very version, or all of another
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        redirects = _Redirects(self.url)
        opener = urllib.request.build_opener(redirects)
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - checked above
        try:
            answer = opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
                raise
            self._forget()
            return self._open()
        redirects.note(answer.url, answer.headers)
        return _Answer(answer, redirects.stated)

    def _kept(self) -> tuple[int, str]:
        """How many bytes an earlier call left, and the version that they are of."""
        try:
            known = json.loads(self.facts.read_text(encoding="utf-8"))
            if known["url"] == self.url and isinstance(known["version"], str):
                return self.part.stat().st_size, known["version"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, ""

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.facts.unlink(missing_ok=True)

    def _check_answer(self, answer: _Answer) -> None:
        kind = answer.headers.get_content_type()
        if kind == "text/html":
            raise self._error("the server sends a web page instead of the file")
        rest = None if answer.total is None else answer.total - answer.start
        free = shutil.disk_usage(self.path.parent).free
        if rest is not None and rest > free:
            raise ArchspecError(
                f"cannot write {self.path}: it takes {_bytes(rest)}, and {_bytes(free)} are free"
            )

    # -- copying ---------------------------------------------------------------------------------

    def _copy(self, answer: _Answer) -> None:
        if not answer.start:
            self._forget()
        if answer.version is not None:
            facts = {"url": self.url, "version": answer.version}
            self.facts.write_text(json.dumps(facts), encoding="utf-8")
        here = answer.start
        with self.part.open("ab" if answer.start else "wb") as file:
            self.progress(here, answer.total)
            while block := answer.read(BLOCK):
                file.write(block)
                here += len(block)
                self.progress(here, answer.total)
        if answer.is_broken or answer.total not in (None, here):
            of = "" if answer.total is None else f" of {_bytes(answer.total)}"
            again = "; the next try goes on there" if answer.version is not None else ""
            raise self._error(f"the connection broke after {_bytes(here)}{of}{again}")

    def _finish(self, stated: str | None) -> Downloaded:
        """Check the hash, and put the file in its place."""
        found, size = sha256(self.part), self.part.stat().st_size
        for who, expected in (("the spec", self.digest), ("the server", stated)):
            if expected is not None and not found.startswith(expected):
                self._forget()
                raise self._error(
                    f"what came is another file: its SHA-256 is {found[: len(expected)]}, and "
                    f"{who} says {expected}"
                )
        self.part.replace(self.path)
        self._forget()
        vouched: Voucher | None = "spec" if self.digest else "server" if stated else None
        return Downloaded(found, size, vouched)

    # -- refusing --------------------------------------------------------------------------------

    def _error(self, what: str) -> DownloadError:
        return DownloadError(f"cannot download {self.url}: {what}", hint=self._way_out())

    def _unreachable(self, reason: Any) -> DownloadError:
        host = urllib.parse.urlsplit(self.url).hostname
        if isinstance(reason, TimeoutError):
            return self._error(f"{host} does not answer (for {TIMEOUT:g} s)")
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return self._error(f"{host} cannot be reached ({said})")

    def _way_out(self) -> str:
        return "where there is no network: bring the file here by other means, --weights FILE"


class _Answer:
    """What a server sends: from which byte on, of how many, of which version."""

    def __init__(self, response: Any, stated: str | None) -> None:
        self._response = response
        self.stated = stated
        """The file's SHA-256."""
        self.is_broken = False
        """Whether the connection ended before the file did."""
        self.headers: Message = response.headers
        self.start = 0
        length = _whole(self.headers.get("Content-Length"))
        self.total = length
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", self.headers.get("Content-Range", ""))
        if response.status == http.HTTPStatus.PARTIAL_CONTENT and found:
            self.start, self.total = int(found[1]), int(found[2])
        etag = self.headers.get("ETag", "")
        # a weak one does not promise the same bytes
        self.version: str | None = etag if etag.startswith('"') else None

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end, or where the connection breaks."""
        try:
            block: bytes = self._response.read1(size)
        except (OSError, http.client.HTTPException):
            self.is_broken = True
            return b""
        return block

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's word to another place, never to an open connection."""

    max_redirections = MAX_REDIRECTS

    def __init__(self, url: str) -> None:
        self._host = urllib.parse.urlsplit(url).netloc
        self.stated: str | None = None
        """The file's SHA-256, as the site that was asked states it; others know nothing of it."""

    def note(self, url: str, headers: Message) -> None:
        """Look for the hash in what a server said."""
        linked = str(headers.get("X-Linked-Etag", "")).strip('"').lower()
        if urllib.parse.urlsplit(url).netloc == self._host and _SHA256.fullmatch(linked):
            self.stated = linked

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage, newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        self.note(req.full_url, headers)
        _check_scheme(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, origin: str) -> None:
    """Refuse anything but https, and http from this machine to itself."""

    def local(address: str) -> bool:
        parts = urllib.parse.urlsplit(address)
        return parts.scheme == "http" and parts.hostname in _LOOPBACK

    if urllib.parse.urlsplit(url).scheme == "https" or (local(url) and local(origin)):
        return
    what = "is not an https address" if url == origin else f"sends on to {url}, which is not https"
    raise DownloadError(f"cannot download {origin}: it {what}")


def _status(error: urllib.error.HTTPError) -> str:
    if error.code == http.HTTPStatus.NOT_FOUND:
        return "there is no such file (404)"
    return f"the server answers {error.code} {error.reason}"


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _bytes(size: int) -> str:
    """`96.1 MB`, as browsers and servers count."""
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"
