"""Names in the store come from UIDs and nothing else."""

from __future__ import annotations

import pytest

from txdicom.archive.identity import Identity
from txdicom.archive.layout import beside, file_in, folder_of


def test_study_series_instance():
    identity = Identity("1", "1.2.3", "1.4", "1.5")
    assert folder_of("/store", identity) == "/store/1.4/1.5"
    assert folder_of("/other", identity) == "/other/1.4/1.5"
    assert file_in("/store/1.4/1.5", identity.sop_instance) == "/store/1.4/1.5/1.2.3.dcm"


@pytest.mark.parametrize("odd", ["", "..", "1/2", "1.", "x", "1" * 65, "1\n", "\u0661.2"])
def test_what_is_no_uid_names_nothing(odd):
    assert folder_of("/store", Identity("1", "1.2.3", odd, "1.5")) == "/store/unknown"
    assert folder_of("/store", Identity("1", "1.2.3", "1.4", odd)) == "/store/unknown"


def test_beside():
    assert beside("/store/1.4/1.5/1.2.3.dcm", 2) == "/store/1.4/1.5/1.2.3~2.dcm"
