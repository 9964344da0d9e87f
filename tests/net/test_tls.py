"""txdicom.net.tls: files, contexts and certificates, by handshakes in memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from tests.certificates import HOSTS, Authority, Pair, rsa_key
from txdicom.errors import SettingsError
from txdicom.net.tls import TLS, ClientTls, SecureFactory, ServerTls
from txdicom.net.tls_failures import TlsError, TlsSession, failure_of, session_of
from txdicom.net.tls_files import read_credentials
from txdicom.net.tls_profiles import DEFAULT_PROFILE, PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "Other CA")


@pytest.fixture(scope="module")
def server(ca: Authority) -> Pair:
    return ca.issue("server", *HOSTS)


def problems_of(make: Callable[[], Any]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        make()
    return raised.value.problems


class Ends:
    """The two ends of a connection in memory; `client` and `server` are their sessions, or why there is none."""

    def __init__(
        self, client: ClientTls, server: ServerTls, host: str = "localhost", verify: bool | None = None
    ) -> None:
        self.ours: Any = client.client_options(host, verify).clientConnectionForTLS(None)  # type: ignore[arg-type]
        self.theirs: Any = server.options.serverConnectionForTLS(None)  # type: ignore[arg-type]
        self.ours.set_connect_state()
        self.theirs.set_accept_state()
        outcomes: dict[Any, TlsSession | TlsError | None] = {self.ours: None, self.theirs: None}
        for _ in range(10):
            for one, peer in ((self.ours, self.theirs), (self.theirs, self.ours)):
                if not isinstance(outcomes[one], TlsError):
                    outcomes[one] = _step(one, outcomes[one] is not None)
                _carry(one, peer)
        self.client, self.server = outcomes[self.ours], outcomes[self.theirs]


def _step(one: Any, done: bool) -> TlsSession | TlsError | None:
    try:
        if done:
            one.recv(100)
        else:
            one.do_handshake()
    except SSL.WantReadError:
        return session_of(one) if done else None
    except SSL.Error as error:
        return failure_of(one, error, handshake=done)
    return session_of(one)


def _carry(one: Any, peer: Any) -> None:
    with suppress(SSL.WantReadError):
        peer.bio_write(one.bio_read(100_000))


def agreed(ends: Ends) -> TlsSession:
    assert isinstance(ends.client, TlsSession), ends.client
    assert isinstance(ends.server, TlsSession), ends.server
    assert (ends.client.version, ends.client.cipher) == (ends.server.version, ends.server.cipher)
    return ends.client


def refused(outcome: object) -> tuple[str, str]:
    assert isinstance(outcome, TlsError), outcome
    return outcome.kind, str(outcome)


# -- agreeing ----------------------------------------------------------------------------------------------------------


def test_both_know_the_other(ca: Authority, server: Pair) -> None:
    us = ca.issue("modality")
    ends = Ends(ClientTls(TLS(ca=ca.path, **us.files)), ServerTls(TLS(ca=ca.path, **server.files)))
    session = agreed(ends)
    assert session.version == "TLSv1.3"
    assert session.subject == "CN=server"
    assert isinstance(ends.server, TlsSession)
    assert ends.server.subject == "CN=modality"
    assert str(ends.server) == f"TLSv1.3, {session.cipher}, the certificate of CN=modality"


def test_without_certificate_of_the_client(ca: Authority, server: Pair) -> None:
    for asked, tls in (("none", TLS(**server.files)), ("request", TLS(ca=ca.path, **server.files))):
        ends = Ends(ClientTls(TLS(ca=ca.path)), ServerTls(tls, asked))  # type: ignore[arg-type]
        agreed(ends)
        assert isinstance(ends.server, TlsSession)
        assert ends.server.subject is None
        assert str(ends.server).endswith("no certificate of the peer")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_speaks_with_itself(ca: Authority, profile: Any) -> None:
    server = ca.issue("rsa", *HOSTS, key=rsa_key())
    with_profile = TLS(ca=ca.path, profile=profile, **server.files)
    session = agreed(Ends(ClientTls(with_profile), ServerTls(with_profile)))
    newest = "TLSv1.3" if PROFILES[profile].tls13 else "TLSv1.2"
    assert session.version == newest
    assert session.cipher in (*PROFILES[profile].tls13, *PROFILES[profile].ciphers)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_offers_no_other_suites(profile: Any) -> None:
    options = ClientTls(TLS(profile=profile)).client_options("localhost")
    wanted = PROFILES[profile]
    offered = set(options.clientConnectionForTLS(None).get_cipher_list())  # type: ignore[arg-type]
    if not wanted.tls13:  # listed by OpenSSL even where the version is off
        offered = {one for one in offered if not one.startswith("TLS_")}
    assert offered <= {*wanted.ciphers, *wanted.tls13}
    assert set(wanted.ciphers) <= offered


def test_the_suites_with_dhe_work(ca: Authority) -> None:
    server = ca.issue("rsa", *HOSTS, key=rsa_key())
    files = TLS(ca=ca.path, profile="extended-bcp195", **server.files)
    listener = ServerTls(files)
    client = ClientTls(files)
    client._context.set_cipher_list(b"DHE-RSA-AES128-GCM-SHA256")
    assert agreed(Ends(client, listener)).cipher == "DHE-RSA-AES128-GCM-SHA256"


def test_profiles_without_common_ground(ca: Authority, server: Pair) -> None:
    old = ClientTls(TLS(ca=ca.path, profile="aes"))
    ends = Ends(old, ServerTls(TLS(**server.files), "none"))
    assert refused(ends.client)[0] == "common"
    assert refused(ends.server)[0] == "common"


# -- the peer's certificate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (HOSTS, "127.0.0.1"),
        (HOSTS, "LOCALHOST"),
        (("::1",), "::1"),
        (("::1",), "::1%lo"),
        (("xn--mnchen-3ya.example",), "münchen.example"),
        (("*.example.org",), "pacs.example.org"),
    ],
)
def test_hosts_that_a_certificate_names(ca: Authority, names: tuple[str, ...], host: str) -> None:
    listener = ServerTls(TLS(**ca.issue("server", *names).files), "none")
    agreed(Ends(ClientTls(TLS(ca=ca.path)), listener, host))


def test_a_host_that_it_does_not_name(ca: Authority, server: Pair) -> None:
    listener = ServerTls(TLS(**server.files), "none")
    for host in ("pacs.example.org", "127.0.0.2"):
        ends = Ends(ClientTls(TLS(ca=ca.path)), listener, host)
        text = f"its certificate is for localhost, 127.0.0.1, and not for {host}"
        assert refused(ends.client) == ("name", text)
        assert isinstance(ends.server, TlsError)
    nameless = ServerTls(TLS(**ca.issue("nameless").files), "none")
    kind, text = refused(Ends(ClientTls(TLS(ca=ca.path)), nameless).client)
    assert (kind, text) == ("name", "its certificate names no host, and so not localhost (it is for CN=nameless)")


def test_the_name_is_not_checked_where_it_is_not_to_be(ca: Authority, server: Pair) -> None:
    listener = ServerTls(TLS(**server.files), "none")
    lax = ClientTls(TLS(ca=ca.path, verify_host_name=False))
    agreed(Ends(lax, listener, "pacs.example.org"))
    assert refused(Ends(lax, listener, "pacs.example.org", verify=True).client)[0] == "name"
    agreed(Ends(ClientTls(TLS(ca=ca.path)), listener, "pacs.example.org", verify=False))


@pytest.mark.parametrize("verify", [True, False])
def test_an_issuer_that_is_not_trusted(ca: Authority, other: Authority, server: Pair, verify: bool) -> None:
    listener = ServerTls(TLS(**server.files), "none")
    ends = Ends(ClientTls(TLS(ca=other.path, verify_host_name=verify)), listener)
    kind, text = refused(ends.client)
    assert kind == "issuer"
    assert "CN=Test CA" in text
    assert refused(ends.server)[0] == "ours"
    # without `ca`, those of the system are trusted: not this one
    assert refused(Ends(ClientTls(TLS(verify_host_name=verify)), listener).client)[0] == "issuer"


def test_a_certificate_out_of_its_time(ca: Authority) -> None:
    for begin, end, sentence in (
        (-9, -1, "its certificate has expired, on "),
        (1, 9, "its certificate is not valid before "),
    ):
        listener = ServerTls(TLS(**ca.issue("server", *HOSTS, begin=begin, end=end).files), "none")
        kind, text = refused(Ends(ClientTls(TLS(ca=ca.path)), listener).client)
        assert kind == "dates"
        assert text.startswith(sentence)


def test_a_client_without_the_certificate_that_is_wanted(ca: Authority, server: Pair) -> None:
    ends = Ends(ClientTls(TLS(ca=ca.path)), ServerTls(TLS(ca=ca.path, **server.files)))
    assert refused(ends.server) == ("wanted", "it gave no certificate")
    assert refused(ends.client) == ("wanted", "it wants a certificate of ours")


@pytest.mark.parametrize("asked", ["require", "request"])
def test_a_client_whose_issuer_is_not_trusted(ca: Authority, other: Authority, server: Pair, asked: Any) -> None:
    us = other.issue("modality")
    ends = Ends(ClientTls(TLS(ca=ca.path, **us.files)), ServerTls(TLS(ca=ca.path, **server.files), asked))
    kind, text = refused(ends.server)
    assert kind == "issuer"
    assert "Other CA" in text
    assert refused(ends.client)[0] == "ours"


def test_what_a_certificate_says_reaches_no_terminal(ca: Authority) -> None:
    pair = ca.issue("a\x1b[31m\nb" + "c" * 50)
    certificate = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())
    subject = TlsSession("TLSv1.3", "X", certificate).subject
    assert subject is not None
    assert subject.isprintable()
    assert subject.startswith("CN=a?[31m?b")


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_that_belong_together(ca: Authority, server: Pair) -> None:
    for half in ({"certificate": server.certificate}, {"key": server.key}):
        [problem] = problems_of(lambda half=half: ClientTls(TLS(**half)))  # type: ignore[misc]
        assert "certificate and key go together" in problem or "key and certificate go together" in problem
    other = ca.issue("another")
    [problem] = problems_of(lambda: ClientTls(TLS(certificate=server.certificate, key=other.key)))
    assert problem.startswith(f"key: {other.key} is not the key of the first certificate in {server.certificate}")


def test_every_problem_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "rubbish").write_text("rubbish")
    (tmp_path / "rubbish").chmod(0o600)
    (tmp_path / "empty").mkdir()
    tls = TLS(certificate=str(tmp_path / "none.pem"), key=str(tmp_path / "rubbish"), ca=str(tmp_path / "empty"))
    first, second, third = problems_of(lambda: read_credentials(tls, lambda name: f"tls.{name}"))
    assert first == f"tls.certificate: {tmp_path}/none.pem cannot be read: No such file or directory"
    assert second.startswith(f"tls.key: {tmp_path}/rubbish has no private key in PEM form")
    assert third.startswith(f"tls.ca: the folder {tmp_path}/empty has no certificate")
    [problem] = problems_of(lambda: read_credentials(TLS(ca=str(tmp_path / "rubbish"))))
    assert problem.startswith(f"ca: {tmp_path}/rubbish has no certificate in PEM form; one in DER form")
    (tmp_path / "broken").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    [problem] = problems_of(lambda: read_credentials(TLS(ca=str(tmp_path / "broken"))))
    assert problem.startswith(f"ca: a certificate in {tmp_path}/broken cannot be read")
    [problem] = problems_of(lambda: read_credentials(TLS(ca="/dev/null")))
    assert problem == "ca: /dev/null is not a file"


def test_a_file_that_is_far_too_long(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.touch()
    os.truncate(path, 100_000_000)
    [problem] = problems_of(lambda: read_credentials(TLS(ca=str(path))))
    assert "is longer than 4194304 bytes" in problem


def test_a_key_that_others_may_read(ca: Authority) -> None:
    pair = ca.issue("server", *HOSTS)
    Path(pair.key).chmod(0o640)
    [problem] = problems_of(lambda: ClientTls(TLS(**pair.files)))
    assert problem == f"key: others than its owner may use {pair.key} (mode 640): chmod 600 {pair.key}"


def test_keys_with_passwords(ca: Authority, server: Pair) -> None:
    pair = ca.issue("server", *HOSTS, password="secret")
    [problem] = problems_of(lambda: ClientTls(TLS(**pair.files)))
    assert problem == f"key: the key in {pair.key} is encrypted: give a file with its password, key_password_file"
    right, wrong, empty = (ca.write(name, text) for name, text in (("a", "secret\n"), ("b", "wrong"), ("c", "\n")))
    client = ClientTls(TLS(ca=ca.path, key_password_file=right, **pair.files))
    agreed(Ends(client, ServerTls(TLS(**server.files), "none")))
    [problem] = problems_of(lambda: ClientTls(TLS(key_password_file=wrong, **pair.files)))
    assert problem == f"key: the password of key_password_file is not that of the key in {pair.key}"
    [problem] = problems_of(lambda: ClientTls(TLS(key_password_file=empty, **pair.files)))
    assert problem.startswith(f"key_password_file: the first line of {empty} is empty")
    [problem] = problems_of(lambda: ClientTls(TLS(key_password_file=right, **server.files)))
    assert problem == f"key: the key in {server.key} has no password: leave key_password_file out"
    Path(right).chmod(0o644)
    [problem] = problems_of(lambda: ClientTls(TLS(key_password_file=right, **pair.files)))
    assert problem.startswith("key_password_file: others than its owner may use")


def test_a_key_that_is_too_short(ca: Authority) -> None:
    pair = ca.issue("weak", *HOSTS, key=rsa_key(1024))
    [problem] = problems_of(lambda: ClientTls(TLS(**pair.files)))
    assert f"has an RSA key of 1024 bits, and the profile {DEFAULT_PROFILE} takes 2048 and more" in problem
    ClientTls(TLS(profile="aes", **pair.files))


def test_what_openssl_refuses_is_a_problem_too(ca: Authority) -> None:
    pair = ca.issue("ed", *HOSTS, key=ec.generate_private_key(ec.SECP192R1()))
    [problem] = problems_of(lambda: ClientTls(TLS(**pair.files)))
    assert problem.startswith("certificate: OpenSSL does not take it: ")


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [(-9, -1, "has expired, on"), (1, 90, "is not valid before"), (-1, 20, "expires on"), (-1, 90, "")],
)
def test_dates_are_warned_about(ca: Authority, begin: int, end: int, words: str) -> None:
    pair = ca.issue("server", *HOSTS, begin=begin, end=end)
    warnings = ServerTls(TLS(ca=ca.path, **pair.files), place=lambda name: f"tls.{name}").warnings
    assert len(warnings) == bool(words)
    assert all(one.startswith(f"tls.certificate: the certificate in {pair.certificate} {words}") for one in warnings)


def test_a_folder_of_issuers(ca: Authority, other: Authority, server: Pair, tmp_path: Path) -> None:
    for name, one in (("a.pem", ca), ("b.crt", other), ("again.pem", ca)):
        (tmp_path / name).write_bytes(Path(one.path).read_bytes())
    (tmp_path / "README").write_text("no certificate")
    agreed(Ends(ClientTls(TLS(ca=str(tmp_path))), ServerTls(TLS(**server.files), "none")))
    assert len(read_credentials(TLS(ca=str(tmp_path))).trusted) == 2


def test_issuers_that_have_all_expired_are_warned_about(ca: Authority) -> None:
    expired = ca.issue("old", begin=-9, end=-2)
    only = ca.write(
        "only.pem",
        Path(expired.certificate).read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n",
    )
    [warning] = read_credentials(TLS(ca=only)).warnings
    assert "every certificate in" in warning


# -- a listener --------------------------------------------------------------------------------------------------------


def test_what_a_listener_needs(ca: Authority, server: Pair) -> None:
    [problem] = problems_of(lambda: ServerTls(TLS(), place=lambda name: f"tls.{name}"))
    assert problem == "tls.certificate and tls.key: missing, and a listener cannot do TLS without"
    [problem] = problems_of(lambda: ServerTls(TLS(**server.files)))
    assert problem.startswith("ca: it is missing, and client_certificate is 'require': ")


def test_files_are_read_again(ca: Authority, tmp_path: Path) -> None:
    first, second = ca.issue("first", *HOSTS), ca.issue("second", *HOSTS)
    files = {"certificate": str(tmp_path / "c"), "key": str(tmp_path / "k")}

    def put(certificate: str, key: str) -> None:
        Path(files["certificate"]).write_bytes(Path(certificate).read_bytes())
        Path(files["key"]).write_bytes(Path(key).read_bytes())
        Path(files["key"]).chmod(0o600)

    put(**first.files)
    listener, client = ServerTls(TLS(**files), "none"), ClientTls(TLS(ca=ca.path))
    options = listener.options
    assert agreed(Ends(client, listener)).subject == "CN=first"
    put(first.certificate, second.key)
    [problem] = problems_of(listener.reload)
    assert "is not the key of" in problem
    assert agreed(Ends(client, listener)).subject == "CN=first"
    put(**second.files)
    listener.reload()
    assert listener.options is options
    assert agreed(Ends(client, listener)).subject == "CN=second"


def test_a_factory_that_wants_no_connection(server: Pair) -> None:
    class Full:
        def buildProtocol(self, addr: object) -> None:
            return None

    factory = SecureFactory(ServerTls(TLS(**server.files), "none").options, Full(), None)  # type: ignore[arg-type]
    assert factory.buildProtocol(None) is None


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("sslv3 alert handshake failure", "common"),
        ("ssl/tls alert bad certificate", "ours"),
        ("tlsv13 alert certificate required", "wanted"),
        ("wrong version number", "plain"),
        ("something new", "other"),
    ],
)
def test_openssls_reasons(reason: str, kind: str) -> None:
    failure = failure_of(None, SSL.Error([("SSL routines", "", reason)]), handshake=False)
    assert failure is not None
    assert failure.kind == kind
    if kind == "other":
        assert str(failure) == "TLS failed: something new"


def test_other_ends_of_a_connection() -> None:
    during = failure_of(None, ConnectionError(), handshake=False)
    assert during is not None
    assert during.kind == "closed"
    assert failure_of(None, ConnectionError(), handshake=True) is None
    assert refused(failure_of(None, SSL.SysCallError(-1, "x"), handshake=True)) == ("other", "TLS failed: SysCallError")
