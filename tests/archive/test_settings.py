"""The `[archive]` table."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from txdicom.archive.settings import ArchiveSettings


def test_defaults():
    settings = ArchiveSettings()
    assert (settings.store, settings.flush, settings.duplicates) == ("", True, "keep")


@pytest.mark.parametrize("mistake", [{"flsh": False}, {"duplicates": "drop"}, {"flush": "maybe"}])
def test_mistakes(mistake):
    with pytest.raises(ValidationError):
        ArchiveSettings.model_validate(mistake)


def test_every_field_is_described():
    assert all(field.description for field in ArchiveSettings.model_fields.values())
