"""Peers that refuse, abort, fall silent or are not there: a clear error and an exit status that says so, never a wait
without end."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.interop import bundle, part10
from tests.interop.processes import AE_TITLE, HOST, TXDICOM, StoreScp, run
from tests.interop.senders import txdicom_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.interop.processes import Server

pytestmark = pytest.mark.interop

FILES = [bundle.by_name(f"test_files/{name}").path for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm")]


@pytest.mark.parametrize(
    ("options", "words", "stored", "sentence"),
    [
        (["--refuse"], [], 0, "rejected the association"),
        (["--abort-after"], [], 0, "aborted"),
        (["--abort-during"], [], 0, "aborted"),
        (["--sleep-after", "3"], ["-td", "1"], 2, "no response from STORESCP within 1 s"),
        (["--sleep-during", "3"], ["-td", "1"], 0, "no response from STORESCP within 1 s"),
        (["--sleep-after", "1"], [], 3, ""),
        (["--ignore"], [], 3, ""),
        # only those that say no Implementation Class UID
        (["--reject"], [], 3, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and value[0].startswith("--") else "",
)
def test_storescp_with_a_fault(
    dcmtk: Callable[[str], str],
    tmp_path: Path,
    free_port: int,
    options: list[str],
    words: list[str],
    stored: int,
    sentence: str,
) -> None:
    scp = StoreScp(dcmtk("storescp"), tmp_path, free_port, *options)
    try:
        sent = txdicom_store(f"STORESCP@{HOST}:{scp.port}", *words, *FILES)
    finally:
        scp.kill()  # it may be asleep
    assert sent.summary["stored"] == stored
    assert sent.status == (0 if stored == len(FILES) else 1)
    assert sentence in sent.output


def test_nobody_there(free_port: int) -> None:
    sent = txdicom_store(f"NOBODY@{HOST}:{free_port}", *FILES)
    assert sent.status == 1
    assert sent.summary["stored"] == 0
    assert "cannot connect" in sent.summary["error"]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46"])
def test_something_else_is_there(answer: bytes) -> None:
    """One that closes at once, an HTTP server, a TLS server."""

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            if answer:
                peer.recv(65_536)
                peer.sendall(answer)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        sent = txdicom_store(f"WEB@{HOST}:{listener.getsockname()[1]}", *FILES)
        thread.join(10)
    assert sent.status == 1
    assert sent.summary["error"]


def test_one_that_says_nothing() -> None:
    """The kernel accepts; no program ever does."""
    with socket.create_server((HOST, 0)) as listener:
        begun = time.monotonic()
        sent = txdicom_store(f"MUTE@{HOST}:{listener.getsockname()[1]}", "-ta", "1", *FILES)
        assert time.monotonic() - begun < 20
    assert sent.status == 1
    assert "1 s" in sent.summary["error"]


def test_called_by_another_title(server: Server) -> None:
    sent = txdicom_store(f"OTHER@{HOST}:{server.port}", *FILES)
    assert sent.status == 1
    assert "it is not the called AE title" in sent.summary["error"]


def test_what_cannot_be_sent(server: Server, tmp_path: Path) -> None:
    """Files that are missing, no DICOM, a DICOMDIR or empty are named with the reason; the others are sent."""
    dicomdir = bundle.FOLDER / "test_files" / "dicomdirtests" / "DICOMDIR"
    no_instance = bundle.FOLDER / "test_files" / "empty_charset_LEI.dcm"
    text, empty, missing = tmp_path / "text", tmp_path / "empty", tmp_path / "missing"
    text.write_text("no DICOM " * 100)
    empty.touch()
    bad = [dicomdir, no_instance, text, empty, missing]
    sent = txdicom_store(f"{AE_TITLE}@{HOST}:{server.port}", *bad, FILES[0])
    assert sent.status == 1
    assert {path for path, error in sent.errors.items() if error} == set(bad)
    assert sent.errors[FILES[0]] == ""
    uid = sent.instances[FILES[0]]["sop_instance_uid"]
    assert part10.data_set(part10.stored(server.store)[uid]) == part10.data_set(FILES[0])


def test_a_storescu_that_aborts(server: Server, dcmtk: Callable[[str], str]) -> None:
    """What it had sent before is kept."""
    sample = bundle.by_name("charset_files/chrArab.dcm")
    sent = run([dcmtk("storescu"), "-v", "--abort", "-aec", AE_TITLE, HOST, str(server.port), sample.path])
    assert sent.returncode == 0, sent.stdout
    assert sample.sop_instance in part10.stored(server.store)
    assert run([*TXDICOM, "echo", f"{AE_TITLE}@{HOST}:{server.port}"]).returncode == 0
