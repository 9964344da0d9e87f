"""The example of a PACS in one file, run as it stands in a process of its own."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from twisted.internet import reactor

from tests.interop.processes import Background
from tests.scu.provider import MR, write
from txdicom.errors import AssociationRejected
from txdicom.scu import Peer, connect, select
from txdicom.uids import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pacs.py"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"


@contextmanager
def pacs(folder: Path, seconds: float = 30) -> Iterator[tuple[Background, Peer]]:
    """The example, keeping in `folder`; at the end Ctrl-C ends it cleanly."""
    # pydicom warns of a UID that is none, which is what one file here has
    command = [sys.executable, "-bb", "-W", "error", "-W", "ignore::UserWarning", EXAMPLE, folder, "0", str(seconds)]
    with Background(command, folder.with_suffix(".log")) as example:
        port = int(example.wait_for(r"PACS listens on port ([0-9]+)")[1])
        yield example, Peer("PACS", "127.0.0.1", port)
        example.process.send_signal(signal.SIGINT)
        assert example.ended() == 0
        assert "Traceback" not in example.output()
        assert not list(folder.glob("*.part"))


def image(path: Path, number: int, sop_class: str = "1.2.840.10008.5.1.4.1.1.2", *, study: str = "1.2.9") -> str:
    """A file with study and series."""
    write(path, number, sop_class=sop_class)
    with path.open("ab") as file:
        for element, value in ((b"\x0d", study.encode().ljust(6, b"\0")), (b"\x0e", b"1.2.9.1\0")):
            file.write(b"\x20\x00" + element + b"\x00UI" + len(value).to_bytes(2, "little") + value)
    return str(path)


def content(path: str) -> tuple[str, str, str, bytes]:
    """What an instance is, and its data set."""
    [one] = select(path).instances
    return one.sop_class, one.sop_instance, one.transfer_syntax, Path(path).read_bytes()[one.data_offset :]


async def test_what_is_kept_and_what_is_refused(tmp_path: Path) -> None:
    files = [image(tmp_path / "ct", 1), image(tmp_path / "mr", 2, MR), image(tmp_path / "us", 3, ULTRASOUND)]
    files.append(image(tmp_path / "path", 4, study="../../"))
    kept = tmp_path / "kept"
    with pacs(kept) as (example, peer):
        async with connect(reactor, peer, contexts=[VERIFICATION], files=files) as association:
            assert (await association.echo()).is_success
            found = {one.path: one async for one in association.store(files)}
        results = [found[path] for path in files]
        assert [one.stored for one in results] == [True, True, False, False]
        assert "did not accept its SOP class" in results[2].error
        assert "no Study or Series Instance UID" in results[3].error
        assert "TXDICOM stored CT Image Storage" in example.output()
    stored = sorted(str(path) for path in kept.rglob("*") if path.is_file())
    assert stored == [str(kept / "1.2.9" / "1.2.9.1" / f"1.2.3.{number}.dcm") for number in (1, 2)]
    assert [content(path) for path in stored] == [content(path) for path in files[:2]]


async def test_one_connection_a_peer(tmp_path: Path) -> None:
    with pacs(tmp_path / "kept") as (_, peer):
        async with connect(reactor, peer, calling_ae="MODALITY"):
            with pytest.raises(AssociationRejected) as rejected:
                async with connect(reactor, peer, calling_ae="MODALITY"):
                    pass
            assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (2, 3, 2)
            async with connect(reactor, peer, calling_ae="OTHER") as other:
                assert (await other.echo()).is_success
        async with connect(reactor, peer, calling_ae="MODALITY") as again:
            assert (await again.echo()).is_success


async def test_who_is_idle_is_aborted(tmp_path: Path) -> None:
    with pacs(tmp_path / "kept", seconds=1) as (example, peer):
        association = connect(reactor, peer)
        await association.open()
        begun = time.monotonic()
        [one] = association.associations
        await one.when_lost()
        assert 0.5 < time.monotonic() - begun < 10
        assert "aborted" in one.outcome
        await association.abort()
        example.wait_for("idle")


async def test_ctrl_c_amid_an_association(tmp_path: Path) -> None:
    with pacs(tmp_path / "kept") as (example, peer):
        association = connect(reactor, peer)
        await association.open()
        example.process.send_signal(signal.SIGINT)
        [one] = association.associations
        await one.when_lost()
        assert "aborted" in one.outcome
        await association.abort()
        assert example.ended() == 0
