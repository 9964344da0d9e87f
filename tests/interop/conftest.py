"""One server for the tests that do not need a fresh store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.processes import Server

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A running server; its store fills while the tests run. A later instance takes the place of an earlier one."""
    settings = {"archive.duplicates": "replace", "archive.flush": "false"}
    with Server(tmp_path_factory.mktemp("server"), settings) as running:
        yield running
