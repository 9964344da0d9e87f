"""Every setting either can change while the server runs, or needs a restart."""

from __future__ import annotations

import pytest

from txdicom.server.settings.live_names import LIVE, RESTART
from txdicom.server.settings.tables import TABLES, declarations


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_is_in_one_of_the_two(table: str) -> None:
    assert LIVE[table] | RESTART[table] == set(declarations(TABLES[table]))
    assert not LIVE[table] & RESTART[table]


def test_there_are_no_other_tables() -> None:
    assert set(LIVE) == set(RESTART) == set(TABLES)
