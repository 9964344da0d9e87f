"""The `[tls]` table, and `secure_listen`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.certificates import HOSTS, Authority, Pair
from txdicom.errors import SettingsError
from txdicom.net.tls import TLS
from txdicom.server.compose import prepare
from txdicom.server.settings.tables import Settings, declarations, parse_overrides, read_settings
from txdicom.server.settings.tls import TlsSettings, make_security

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(ca: Authority) -> Pair:
    return ca.issue("server", *HOSTS)


def read(text: str, *set_options: str) -> Settings:
    return read_settings(text, parse_overrides(set_options, (), []), ae_title="TXDICOM")


def problems_of(settings: Settings) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        make_security(settings, "/nowhere")
    return raised.value.problems


def test_every_setting_of_tls_is_one_of_the_table() -> None:
    assert set(declarations(TlsSettings)) == {*declarations(TLS), "client_certificate"}


def test_without_anything_there_is_tls_for_calls() -> None:
    security = make_security(Settings(), "/nowhere")
    assert security.warnings == []
    security.client_options("localhost")


def test_what_is_no_setting() -> None:
    with pytest.raises(SettingsError) as raised:
        read(
            "[tls]\nprofile = 'ssl3'\nclient_certificate = 'perhaps'\n[server]\n"
            "secure_listen = ['tcp:1', 'unix:/a', 'x:1']"
        )
    beginnings = (
        "server.toml:2: tls.profile: input should be 'bcp195-rfc8996-9325', 'modified-bcp195-rfc8996-9325', ",
        "server.toml:3: tls.client_certificate: input should be 'require', 'request' or 'none'",
        "server.toml:5: server.secure_listen[1]: 'unix:/a' is not for TLS",
        "server.toml:5: server.secure_listen[2]: 'x:1' is not an endpoint",
    )
    assert len(raised.value.problems) == len(beginnings)
    for problem, beginning in zip(raised.value.problems, beginnings, strict=True):
        assert problem.startswith(beginning)


def test_a_secure_port_needs_certificate_and_key(pair: Pair) -> None:
    [problem] = problems_of(read("[server]\nsecure_listen = 'tcp:2762'"))
    assert problem == (
        "server.toml:2: server.secure_listen: TLS cannot be done without tls.certificate and tls.key: set them, or "
        "leave it empty"
    )
    [problem] = problems_of(read(f"[server]\nsecure_listen = 'tcp:2762'\n[tls]\ncertificate = '{pair.certificate}'"))
    assert "TLS cannot be done without tls.key" in problem
    files = f"certificate = '{pair.certificate}'\nkey = '{pair.key}'"
    [problem] = problems_of(read(f"[server]\nsecure_listen = 'tcp:2762'\n[tls]\n{files}"))
    assert problem.startswith("tls.ca: it is missing, and client_certificate is 'require': ")
    make_security(read(f"[server]\nsecure_listen = 'tcp:2762'\n[tls]\n{files}\nclient_certificate = 'none'"), "/")
    # for calls alone nothing has to be known of the peers
    make_security(read(f"[tls]\n{files}"), "/")


def test_problems_have_their_lines(pair: Pair) -> None:
    settings = read(f"[tls]\ncertificate = '{pair.certificate}'\nkey = 'missing.key'", "tls.ca=/no/ca.pem")
    assert problems_of(settings) == (
        "server.toml:3: tls.key: /nowhere/missing.key cannot be read: No such file or directory",
        "--set tls.ca: /no/ca.pem cannot be read: No such file or directory",
    )


def test_nothing_is_made_where_tls_cannot_be_done(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TLS cannot be done without"):
        prepare(str(tmp_path / "base"), None, ["server.secure_listen=tcp:0"], (), {})
    assert not (tmp_path / "base").exists()


def test_files_in_the_servers_folder(tmp_path: Path, ca: Authority, pair: Pair) -> None:
    folder = tmp_path / "base" / "TXDICOM"
    (folder / "tls").mkdir(parents=True)
    for name, path in (("c", pair.certificate), ("k", pair.key)):
        with open(path, "rb") as source:
            (folder / "tls" / name).write_bytes(source.read())
        (folder / "tls" / name).chmod(0o600)
    words = ["tls.certificate=tls/c", "tls.key=tls/k", f"tls.ca={ca.path}", "server.secure_listen=tcp:2762"]
    prepared = prepare(str(tmp_path / "base"), None, words, (), {})
    prepared.folder.release()
    assert prepared.security.server_options() is not None
    # who reaches the secure port has shown a certificate
    assert prepared.settings.server.allow_anonymous is False
    prepared = prepare(str(tmp_path / "base"), None, [*words, "server.allow_anonymous=true"], (), {})
    prepared.folder.release()
    assert prepared.warnings == []
    open_to_all = [*words, "server.allow_anonymous=true", "tls.client_certificate=none"]
    prepared = prepare(str(tmp_path / "base"), None, open_to_all, (), {})
    prepared.folder.release()
    assert [one.partition(":")[0] for one in prepared.warnings] == ["whoever can reach this server is let in"]
