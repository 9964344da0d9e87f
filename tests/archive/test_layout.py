"""Names in the store come from UIDs and nothing else."""

from __future__ import annotations

import pytest

from txdicom.archive.identity import Identity
from txdicom.archive.layout import beside, final_path


def test_study_series_instance():
    assert final_path("/store", Identity("1", "1.2.3", "1.4", "1.5")) == "/store/1.4/1.5/1.2.3.dcm"


@pytest.mark.parametrize("odd", ["", "..", "1/2", "1.", "x", "1" * 65, "1\n", "\u0661.2"])
def test_what_is_no_uid_names_nothing(odd):
    assert final_path("/store", Identity("1", "1.2.3", odd, "1.5")) == "/store/unknown/1.2.3.dcm"
    assert final_path("/store", Identity("1", "1.2.3", "1.4", odd)) == "/store/unknown/1.2.3.dcm"
    with pytest.raises(ValueError, match="not a UID"):
        final_path("/store", Identity("1", odd, "1.4", "1.5"))


def test_beside():
    assert beside("/store/1.4/1.5/1.2.3.dcm", 2) == "/store/1.4/1.5/1.2.3~2.dcm"
