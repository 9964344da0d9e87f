"""txdicom.scp.passwords: who is let in, how the file is kept, and what of it must never show."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor, task
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from tests.net.wire import Peer
from tests.scp.hooked import Hooked
from tests.services.serving import EchoAddin
from txdicom.errors import SettingsError
from txdicom.interfaces import IdentityAccepted, IdentityRefused, IDicomAddin, IRequireUserIdentity, UserIdentity
from txdicom.pdu.types import AssociateAC, AssociateRJ, UserIdentityAC, UserIdentityRQ
from txdicom.scp import passwords
from txdicom.scp.passwords import PasswordFile


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash that costs little; one test takes the real one."""
    monkeypatch.setattr(passwords, "COST", (2, 1, 1))


@pytest.fixture
def file(tmp_path: Path) -> PasswordFile:
    made = PasswordFile(tmp_path / "users")
    made.add("alice", "wonderland")
    made.add("bob", None)
    return made


@pytest.fixture
def logged() -> Any:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


async def let_in(file: PasswordFile, name: str, password: str | None, kind: int = 2) -> bool:
    identity = UserIdentity(kind, name.encode(), (password or "").encode())
    answer = await file.authenticate(identity)  # type: ignore[misc]
    assert isinstance(answer, IdentityAccepted | IdentityRefused)
    return isinstance(answer, IdentityAccepted)


def write(file: PasswordFile, text: str) -> None:
    Path(file.path).write_text(text)
    Path(file.path).chmod(0o600)


@pytest_twisted.ensureDeferred
async def test_who_is_let_in(file: PasswordFile) -> None:
    file.load(None)
    assert await let_in(file, "alice", "wonderland")
    for name, password in [
        ("alice", "Wonderland"),
        ("alice", ""),
        ("Alice", "wonderland"),
        ("carol", "wonderland"),
        ("", ""),
        ("bob", ""),
        ("bob", "x"),
    ]:
        assert not await let_in(file, name, password), (name, password)


@pytest_twisted.ensureDeferred
async def test_a_name_alone_is_for_those_who_have_no_password(file: PasswordFile) -> None:
    """Else type 1 would be the way around every password."""
    assert await let_in(file, "bob", None, 1)
    assert not await let_in(file, "alice", None, 1)
    assert not await let_in(file, "carol", None, 1)


@pytest.mark.parametrize("kind", [3, 4, 5])
def test_tickets_and_tokens_are_for_others(file: PasswordFile, kind: int) -> None:
    assert file.authenticate(UserIdentity(kind, b"alice")) is None


@pytest_twisted.ensureDeferred
async def test_names_are_compared_as_they_are(file: PasswordFile) -> None:
    file.add("Jörg Müller", "pässword:with#all")
    assert await let_in(file, "Jörg Müller", "pässword:with#all")


@pytest_twisted.ensureDeferred
async def test_the_real_hash(file: PasswordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    file.add("dora", "explorer")
    assert ":scrypt:16384:8:5:" in text_of(file)
    assert await let_in(file, "dora", "explorer")
    assert not await let_in(file, "dora", "explorers")


@pytest_twisted.ensureDeferred
async def test_checks_run_in_threads_and_not_in_any_number(file: PasswordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, most = set(), 0
    running: list[int] = []
    original = PasswordFile._check

    def check(self: PasswordFile, identity: Any) -> Any:
        nonlocal most
        threads.add(threading.current_thread())
        running.append(1)
        most = max(most, len(running))
        result = original(self, identity)
        running.pop()
        return result

    monkeypatch.setattr(PasswordFile, "_check", check)
    results = [file.authenticate(UserIdentity(2, b"alice", b"wonderland")) for _ in range(20)]
    for result in results:
        assert isinstance(await result, IdentityAccepted)  # type: ignore[misc]
    assert threading.main_thread() not in threads
    assert most <= passwords.AT_ONCE


@pytest_twisted.ensureDeferred
async def test_an_unknown_name_costs_what_a_known_one_does(file: PasswordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    original = passwords._scrypt

    def counted(*arguments: Any) -> bytes:
        calls.append(arguments[1:4])
        return original(*arguments)

    monkeypatch.setattr(passwords, "_scrypt", counted)
    for name in ("alice", "carol", "bob"):
        calls.clear()
        assert not await let_in(file, name, "wrong")
        assert calls == [(2, 1, 1)]


def test_every_entry_has_a_salt_of_its_own(file: PasswordFile) -> None:
    file.add("carol", "wonderland")
    lines = Path(file.path).read_text().splitlines()
    values = [line.partition(":")[2] for line in lines if "scrypt" in line]
    assert len({value.split(":")[4] for value in values}) == 2
    assert "wonderland" not in "".join(lines)


# the file


@pytest_twisted.ensureDeferred
async def test_a_changed_file_is_read_again(file: PasswordFile) -> None:
    file.load(None)
    assert not await let_in(file, "carol", "x")
    other = PasswordFile(file.path)
    other.add("carol", "x")
    assert await let_in(file, "carol", "x")
    other.add("carol", "y")
    assert not await let_in(file, "carol", "x")
    assert await let_in(file, "carol", "y")
    other.remove("carol")
    assert not await let_in(file, "carol", "y")
    assert await let_in(file, "alice", "wonderland")


@pytest_twisted.ensureDeferred
async def test_an_unchanged_file_is_read_once(file: PasswordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await let_in(file, "bob", None, 1)
    monkeypatch.setattr(passwords, "_read", None)
    assert await let_in(file, "bob", None, 1)


def test_the_file_is_private_and_comments_stay(file: PasswordFile) -> None:
    write(file, "# the night shift\n" + Path(file.path).read_text())
    file.add("carol", "x")
    file.remove("bob")
    text = Path(file.path).read_text()
    assert text.startswith("# the night shift\nalice:scrypt:")
    assert [line.partition(":")[0] for line in text.splitlines()] == ["# the night shift", "alice", "carol"]
    assert Path(file.path).stat().st_mode & 0o777 == 0o600
    assert os.listdir(Path(file.path).parent) == ["users"]


def test_removing_one_who_is_not_there(file: PasswordFile) -> None:
    with pytest.raises(LookupError, match="carol"):
        file.remove("carol")
    with pytest.raises(LookupError):
        PasswordFile(f"{file.path}.none").remove("carol")
    assert not Path(f"{file.path}.none").exists()


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a\nb", "x" * 129, "a\0"])
def test_names_that_cannot_be(file: PasswordFile, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        file.add(name, "x")


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_passwords_that_cannot_be(file: PasswordFile, password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        file.add("carol", password)


def test_what_is_added_at_once_is_all_there(tmp_path: Path) -> None:
    path = tmp_path / "users"
    threads = [
        threading.Thread(target=PasswordFile(path).add, args=(f"user{number}", "x"), name="txdicom-adding")
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(path.read_text().splitlines()) == 8


def test_a_failure_leaves_the_old_file(file: PasswordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path(file.path).read_text()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        file.add("carol", "x")
    assert Path(file.path).read_text() == before
    assert os.listdir(Path(file.path).parent) == ["users"]


BROKEN = [
    "alice",
    "alice:",
    "alice:secret",
    "alice:scrypt:2:1:1:c2FsdHNhbHQ=:short",
    "alice:scrypt:3:1:1:c2FsdHNhbHQ=:" + "A" * 43 + "=",
    "alice:scrypt:1048576:8:1:c2FsdHNhbHQ=:" + "A" * 43 + "=",
    "alice:scrypt:2:1:1000:c2FsdHNhbHQ=:" + "A" * 43 + "=",
    "alice:scrypt:2:1:1:!:" + "A" * 43 + "=",
    "alice:bcrypt:2:1:1:c2FsdHNhbHQ=:" + "A" * 43 + "=",
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_line_is_said_at_the_start_and_lets_nobody_in(file: PasswordFile, line: str) -> None:
    write(file, f"bob:name-only\n{line}\n")
    with pytest.raises(SettingsError, match="line 2") as raised:
        file.load(None)
    assert "c2FsdHNhbHQ" not in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest_twisted.ensureDeferred
async def test_a_line_that_breaks_later_concerns_its_user_alone(file: PasswordFile, logged: list[Any]) -> None:
    file.load(None)
    write(file, "alice:oops\nbob:name-only\nbob:oops\nbob:name-only")
    assert not await let_in(file, "alice", "wonderland")
    assert await let_in(file, "bob", None, 1)
    problems = [event["problem"] for event in logged if "problem" in event]
    assert [problem.split(" is")[0].split(" names")[0] for problem in problems] == ["line 1", "line 3", "line 4"]


def text_of(file: PasswordFile) -> str:
    return Path(file.path).read_text()


def spoil(file: PasswordFile, how: str) -> None:
    path = Path(file.path)
    if how == "mode":
        path.chmod(0o640)
    elif how == "bytes":
        path.write_bytes(b"alice:name-only\n" * (passwords.MAX_BYTES // 16 + 1))
    elif how == "utf-8":
        path.write_bytes(b"\xff\xfe")
    elif how == "owner":
        os.chown(path, 12_345, -1)
    else:
        path.unlink()
        if how == "pipe":
            os.mkfifo(path, 0o600)
        elif how == "folder":
            path.mkdir(0o700)


SPOILT = ["mode", "bytes", "utf-8", "missing", "pipe", "folder"]
if os.geteuid() == 0:
    SPOILT.append("owner")


@pytest.mark.parametrize("how", SPOILT)
@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_trusted_lets_nobody_in(file: PasswordFile, how: str) -> None:
    file.load(None)
    assert await let_in(file, "bob", None, 1)
    spoil(file, how)
    with pytest.raises((OSError, SettingsError)):
        await let_in(file, "bob", None, 1)
    with pytest.raises((OSError, SettingsError)):
        PasswordFile(file.path).load(None)


def test_not_more_users_than_there_may_be(file: PasswordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_ENTRIES", 2)
    with pytest.raises(ValueError, match="at most 2"):
        file.add("carol", None)
    write(file, "a:name-only\nb:name-only\nc:name-only\n")
    with pytest.raises(SettingsError, match="over 2"):
        file.load(None)


def test_nothing_secret_in_a_repr(file: PasswordFile) -> None:
    file.load(None)
    assert "wonderland" not in repr(vars(file))
    assert str(file._users[b"alice"]) == "<entry>"


# as an add-in


async def answer_of(peer: Peer) -> Any:
    while not (pdus := peer.pdus()):
        await task.deferLater(reactor, 0.001)  # type: ignore[arg-type]
    return pdus[0]


@pytest_twisted.ensureDeferred
async def test_as_an_add_in(file: PasswordFile, logged: list[Any]) -> None:
    verifyObject(IDicomAddin, file)
    verifyObject(IRequireUserIdentity, file)
    file.load(None)
    made = Hooked(EchoAddin(), file)
    for secondary, expected in ((b"wonderland", AssociateAC), (b"hunter2", AssociateRJ)):
        identity = UserIdentityRQ(2, b"alice", secondary, response_requested=True)
        pdu = await answer_of(made.peer(user={"user_identity": identity}))
        assert isinstance(pdu, expected)
        if isinstance(pdu, AssociateAC):
            assert pdu.user.user_identity == UserIdentityAC(b"")
        else:
            assert (pdu.result, pdu.source, pdu.reason) == (1, 2, 1)
    assert isinstance(await answer_of(made.peer()), AssociateRJ)
    file.unload()
    assert "hunter2" not in str(logged)


@pytest_twisted.ensureDeferred
async def test_where_identities_are_not_required(file: PasswordFile) -> None:
    relaxed = PasswordFile(file.path, required=False)
    made = Hooked(EchoAddin(), relaxed)
    assert isinstance(made.answer(), AssociateAC)
    peer = made.peer(user={"user_identity": UserIdentityRQ(2, b"alice", b"no")})
    assert isinstance(await answer_of(peer), AssociateRJ)


@pytest_twisted.ensureDeferred
async def test_a_file_that_went_away_rejects_for_now(file: PasswordFile) -> None:
    made = Hooked(EchoAddin(), file)
    os.unlink(file.path)
    pdu = await answer_of(made.peer(user={"user_identity": UserIdentityRQ(2, b"alice", b"wonderland")}))
    assert (pdu.result, pdu.source, pdu.reason) == (2, 1, 1)
