"""What a storage is called: a file or a database's URL, and its name for messages, never with a
password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from archspec.errors import Mark
from archspec.search.errors import StudyError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

FILE = "sqlite:///"
SUCH = "such as study.db (SQLite) or postgresql+psycopg://user@host/name"
OPTION = "--storage"
"""What messages call a storage that cannot be read: nobody knows where a password is in it."""

_NO_FILE = re.compile(r"[A-Za-z][A-Za-z0-9+]+:.*@|[^\\/]*:[^\\/].*@|.*\bpassword\s*=", re.DOTALL)
"""`postgresql:/me:secret@host/x`, `host=… password=…`: meant as an address, and not made a file.
(`C:/a@b` is one: a drive has one letter.)"""
_REST = re.compile(r"[\w+]+://(?:[^:/]*(?::[^@]*)?@)?(.*)", re.DOTALL)
"""What follows user and password, as SQLAlchemy divides a URL."""
_SECRET = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
"""In names of a URL's options whose values are no one's business."""
_SHORTEST = 3
"""Letters of a secret that is looked for in messages; shorter ones are in every word."""


def url_of(storage: str | None, folder: Path) -> str:
    """The database's URL: that of `--storage`, or a file in the study's folder.

    Raises:
        StudyError: it looks like a database's address, and is neither a URL nor a file.
    """
    if storage is None:
        return f"{FILE}{folder / 'study.db'}"
    if "://" in storage:
        return storage
    if _NO_FILE.match(storage):
        raise StudyError("cannot be read as the URL of a database", mark=Mark(OPTION), hint=SUCH)
    return f"{FILE}{storage}"


def shown(url: str) -> str:
    """A storage for messages: a file's path, or a URL without password and options."""
    if url.startswith(FILE):
        return url.removeprefix(FILE).partition("?")[0]
    parsed = _parsed(url)
    if parsed is None or _is_ambiguous(url):
        return OPTION
    return parsed.set(query={}).render_as_string(hide_password=True)


def check(url: str) -> None:
    """Refuse what would be read in another way than it was meant.

    Raises:
        StudyError: a sign is in it that has to be written in another way.
    """
    if url.startswith(FILE):
        if "?" in url:
            raise StudyError("the path of a study's file cannot have a ?", mark=Mark(shown(url)))
    elif _parsed(url) is None:
        raise StudyError("cannot be read as the URL of a database", mark=Mark(OPTION), hint=SUCH)
    elif _is_ambiguous(url):
        raise StudyError(
            "cannot be read as the URL of a database: it has an @ too many", mark=Mark(OPTION),
            hint="in a password, %40 stands for @, %3A for :, %2F for /",
        )  # fmt: skip


def concealed(text: str, url: str) -> str:
    """A text in which *** stands for every secret of a URL, in whatever way it is encoded."""
    parsed = None if url.startswith(FILE) else _parsed(url)
    if parsed is None:
        return text
    secrets = [] if parsed.password is None else [str(parsed.password)]
    for name, value in parsed.query.items():
        if _SECRET.search(name):
            secrets += [value] if isinstance(value, str) else value
    ways = {way for s in secrets for way in (s, quote(s, safe=""), quote_plus(s), repr(s)[1:-1])}
    for way in sorted(ways, key=len, reverse=True):
        if len(way) >= _SHORTEST:
            text = text.replace(way, "***")
    return text


def _parsed(url: str) -> URL | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return None


def _is_ambiguous(url: str) -> bool:
    """Whether a part of a password may have become a part of the host, or of what follows."""
    rest = _REST.match(url)
    return rest is not None and "@" in rest[1]
