"""Databases for tests, each started once per process of pytest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import postgres
from tests.search import crews


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL that tests may stop and break, as long as it runs in the end."""
    lacks = postgres.missing()
    if lacks is not None:
        pytest.skip(f"no PostgreSQL here: {lacks}")
    with postgres.server() as found:
        yield found


@pytest.fixture(scope="session")
def _database(server: postgres.Server) -> str:
    return server.database()


@pytest.fixture
def url(server: postgres.Server, _database: str) -> str:
    """A database of PostgreSQL, empty."""
    server.empty(_database)  # a new one for each test is 300 files
    return _database


@pytest.fixture(params=["postgresql", "sqlite"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shared.db"
    return str(request.getfixturevalue("url"))


@pytest.fixture
def crew(tmp_path: Path, url: str) -> Iterator[crews.Crew]:
    """Workers of twelve trials on PostgreSQL."""
    yield from crews.workers_of(tmp_path, url, 12)


@pytest.fixture
def any_crew(tmp_path: Path, any_url: str) -> Iterator[crews.Crew]:
    """Workers of twelve trials on each kind of database."""
    yield from crews.workers_of(tmp_path, any_url, 12)
