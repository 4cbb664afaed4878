"""A file from the web, from a server that works and from those that do not."""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from archspec import download as module
from archspec.download import Downloaded, DownloadError, download
from archspec.errors import ArchspecError
from tests.web import Web, redirecting, sending, serving

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
HINT = "\n  where there is no network: bring the file here by other means, --weights FILE"


@pytest.fixture(autouse=True)
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_comes_whole_and_is_told_of(web: Web, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    done = download(
        web.put("/a", sending(CONTENT)), tmp_path / "deep" / "a",
        progress=lambda here, total: told.append((here, total)),
    )  # fmt: skip
    assert done == Downloaded(DIGEST, len(CONTENT), None)
    assert (tmp_path / "deep" / "a").read_bytes() == CONTENT
    assert left(tmp_path / "deep") == ["a"]
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert len(told) > 2


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:8]])
def test_a_spec_vouches_for_it(digest: str, web: Web, tmp_path: Path) -> None:
    done = download(web.put("/a", sending(CONTENT)), tmp_path / "a", digest=digest)
    assert done.vouched_by == "spec"


def test_the_site_that_is_asked_vouches_for_it(web: Web, tmp_path: Path) -> None:
    """As Hugging Face does: a page may have moved, and the file lies elsewhere."""
    there = web.put("/there", sending(CONTENT)).replace("127.0.0.1", "localhost")
    web.put("/moved", redirecting(there, X_Linked_Etag=f'"{DIGEST}"'))
    start = web.put("/a", redirecting("/moved", status=307))
    assert download(start, tmp_path / "a") == Downloaded(DIGEST, len(CONTENT), "server")


def test_no_other_site_does(web: Web, tmp_path: Path) -> None:
    end = web.put("/there", sending(CONTENT))
    middle = web.put("/middle", redirecting(end, X_Linked_Etag=f'"{"0" * 64}"'))
    start = web.put("/a", redirecting(middle.replace("127.0.0.1", "localhost")))
    assert download(start, tmp_path / "a").vouched_by is None


def test_another_file_than_the_spec_says(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", sending(CONTENT))
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a", digest="0123abcd")
    assert str(caught.value) == (
        f"cannot download {url}: what came is another file: its SHA-256 is {DIGEST[:8]}, "
        f"and the spec says 0123abcd{HINT}"
    )
    assert left(tmp_path) == []


def test_another_file_than_the_server_says(web: Web, tmp_path: Path) -> None:
    there = web.put("/there", sending(CONTENT))
    url = web.put("/a", redirecting(there, X_Linked_Etag=f'"{"0" * 64}"'))
    with pytest.raises(DownloadError, match=f"is {DIGEST}, and the server says {'0' * 64}"):
        download(url, tmp_path / "a", digest=DIGEST[:8])
    assert left(tmp_path) == []


def test_no_such_file(web: Web, tmp_path: Path) -> None:
    url = f"{web.address}/nothing"
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a")
    assert str(caught.value) == f"cannot download {url}: there is no such file (404){HINT}"


def test_a_server_that_refuses(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", sending(b"", status=503))
    with pytest.raises(DownloadError, match="the server answers 503 Service Unavailable"):
        download(url, tmp_path / "a")


def test_a_web_page_in_its_place(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", sending(b"<html>log in</html>", kind="text/html; charset=utf-8"))
    with pytest.raises(DownloadError, match="the server sends a web page instead of the file"):
        download(url, tmp_path / "a")
    assert left(tmp_path) == []


def test_what_is_cut_is_gone_on_with(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", sending(CONTENT, cut=300_000))
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a")
    assert str(caught.value) == (
        f"cannot download {url}: the connection broke after 0.3 MB of 0.5 MB; the next try goes "
        f"on there{HINT}"
    )
    assert left(tmp_path) == ["a.part", "a.part.json"]
    web.put("/a", sending(CONTENT))
    told: list[int] = []
    done = download(url, tmp_path / "a", progress=lambda here, total: told.append(here))
    assert done == Downloaded(DIGEST, len(CONTENT), None)
    assert told[0] == 300_000
    assert web.asked[-1][1]["Range"] == "bytes=300000-"
    assert left(tmp_path) == ["a"]


def test_another_version_is_not_gone_on_with(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", sending(b"x" * len(CONTENT), cut=300_000))
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a")
    web.put("/a", sending(CONTENT, etag='"v2"'))
    assert download(url, tmp_path / "a").sha256 == DIGEST


def test_a_shorter_version_is_not_gone_on_with(web: Web, tmp_path: Path) -> None:
    """The server says that there are not so many bytes."""
    url = web.put("/a", sending(CONTENT * 2, cut=len(CONTENT) + 1))
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a")
    web.put("/a", sending(CONTENT))
    assert download(url, tmp_path / "a").sha256 == DIGEST


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_version_it_starts_again(etag: str | None, web: Web, tmp_path: Path) -> None:
    url = web.put("/a", sending(CONTENT, cut=300_000, etag=etag))
    with pytest.raises(DownloadError, match=r"after 0\.3 MB of 0\.5 MB\n"):
        download(url, tmp_path / "a")
    web.put("/a", sending(CONTENT, etag=etag))
    assert download(url, tmp_path / "a").sha256 == DIGEST
    assert "Range" not in web.asked[-1][1]


def test_a_length_that_is_not_said(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", sending(CONTENT, length=False))
    assert download(url, tmp_path / "a").sha256 == DIGEST


def test_a_server_that_falls_silent(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"x" * 10)
        request.wfile.flush()
        over.wait(10)

    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with pytest.raises(DownloadError, match="the connection broke after 10 bytes of 1,000 bytes"):
        download(web.put("/a", reply), tmp_path / "a")
    over.set()


def test_a_server_that_does_not_answer(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 does not answer \(for 0\.2 s\)"):
        download(web.put("/a", lambda request: over.wait(10) and None), tmp_path / "a")
    over.set()


def test_a_machine_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a"
        with pytest.raises(DownloadError) as caught:
            download(url, tmp_path / "a")
    assert str(caught.value) == (
        f"cannot download {url}: 127.0.0.1 cannot be reached (Connection refused){HINT}"
    )


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"nowhere\.invalid cannot be reached \("):
        download("https://nowhere.invalid/a", tmp_path / "a")


@pytest.mark.parametrize("url", ["http://example.com/a", "file:///etc/passwd", "ftp://localhost/a"])
def test_only_https_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a")
    assert str(caught.value) == f"cannot download {url}: it is not an https address"


def test_it_is_not_sent_on_to_a_file(web: Web, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"the server answers 302 .* is not allowed"):
        download(web.put("/a", redirecting("file:///etc/passwd")), tmp_path / "a")


def test_it_is_not_sent_on_to_an_open_connection(web: Web, tmp_path: Path) -> None:
    target = "http://example.com/b"
    url = web.put("/a", redirecting(target))
    with pytest.raises(DownloadError) as caught:
        download(url, tmp_path / "a")
    assert str(caught.value) == (
        f"cannot download {url}: it sends on to {target}, which is not https"
    )


def test_a_circle_of_redirects(web: Web, tmp_path: Path) -> None:
    url = web.put("/a", redirecting("/a"))
    with pytest.raises(DownloadError, match="the server answers 302"):
        download(url, tmp_path / "a")


def test_a_full_disk_is_seen_before(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1))
    with pytest.raises(ArchspecError) as caught:
        download(web.put("/a", sending(CONTENT)), tmp_path / "a")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'a'}: it takes 0.5 MB, and 1 bytes are free"
    )


def test_a_folder_that_cannot_be_written(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchspecError, match=r"cannot write .*/file: "):
        download(web.put("/a", sending(CONTENT)), tmp_path / "file" / "a")


def test_two_at_once_are_one_after_the_other(web: Web, tmp_path: Path) -> None:
    running, most = [0], [0]
    whole = sending(CONTENT)

    def reply(request: BaseHTTPRequestHandler) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.1)
        whole(request)
        running[0] -= 1

    url = web.put("/a", reply)
    threads = [threading.Thread(target=download, args=(url, tmp_path / "a")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert (tmp_path / "a").read_bytes() == CONTENT
