"""Errors as one sentence for the person at the keyboard: what happened, why, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet import error as tx

from txdicom.errors import (
    AssociationAborted,
    AssociationRejected,
    ConnectionFailed,
    DicomError,
    DimseTimeout,
    LocalProtocolError,
    RemoteProtocolError,
)
from txdicom.net.tls_failures import TlsError

if TYPE_CHECKING:
    from txdicom.cli.options import Connection
    from txdicom.net.tls_failures import Kind


_TLS_REMEDIES: Final[dict[Kind, str]] = {
    "issuer": "if you trust it, give the issuer's certificate with --tls-ca",
    "name": "call it by a name that is in its certificate, and check whom you reach",
    "dates": "it has to be renewed; check the clocks, too",
    "certificate": "ask whoever runs the peer for a certificate that can be used",
    "wanted": "give one with --tls-cert and --tls-key",
    "ours": "give one that it accepts with --tls-cert and --tls-key",
    "common": "try another --tls-profile, or --tls-cert and --tls-key",
    "plain": "check the port, or leave --tls out if it is to be without encryption",
    "closed": "check the port; its log may say why",
    "other": "-d shows more",
}


def explain(error: DicomError, connection: Connection) -> str:
    """A sentence on `error`, which ended or prevented an association over `connection`."""
    peer = connection.peer
    if isinstance(error, ConnectionFailed):
        return f"cannot connect to {peer}: {_connection(error, connection)}"
    if isinstance(error, AssociationRejected):
        return f"{peer} rejected the association: {_rejection(error, connection)}"
    if isinstance(error, DimseTimeout):
        return (
            f"{peer} gave no answer within {connection.dimse_timeout:g} s: it may be busy or stuck; "
            "-td allows it more time"
        )
    if isinstance(error, RemoteProtocolError):
        return f"{peer} does not keep to the DICOM protocol: {error}; is it a DICOM application?"
    if isinstance(error, AssociationAborted):
        return f"{peer}: {_aborted(error, connection)}"
    if isinstance(error, LocalProtocolError):
        return f"{peer}: {error}"
    return f"{peer}: {error}; -d shows more"


def _connection(error: ConnectionFailed, connection: Connection) -> str:
    host, port = connection.peer.host, connection.peer.port
    cause = error.__cause__
    if isinstance(cause, TlsError):
        return f"{cause}; {_TLS_REMEDIES[cause.kind]}"
    if isinstance(cause, tx.ConnectionRefusedError):
        return f"nothing listens on port {port} there; check the port and that the application is running"
    if isinstance(cause, tx.DNSLookupError | tx.UnknownHostError):
        return f"the name {host} cannot be resolved; check its spelling, or give the address"
    if isinstance(cause, tx.NoRouteError):
        return f"there is no route to {host}; check the address and the network"
    if isinstance(cause, tx.ConnectingCancelledError | tx.TimeoutError) or "within" in str(error):
        return (
            f"no answer within {connection.timeout:g} s; check the address, the port and the firewalls between, "
            "or allow more time with -to"
        )
    reason = str(error).partition(": ")[2] or str(error)
    return f"{reason.rstrip('.')}; check the address and the port"


def _rejection(error: AssociationRejected, connection: Connection) -> str:
    which = (error.source, error.reason)
    if which == (1, 7):
        return (
            f"it is not the called AE title {connection.peer.ae_title!r}; "
            "ask for its AE title and write it before the @, or after -aec"
        )
    if which == (1, 3):
        return f"it does not know the calling AE title {connection.aetitle!r}; give one that it knows with -aet"
    if which in {(3, 1), (3, 2)}:
        return "it has no room for another association just now; try again later, or with fewer at once"
    if which == (1, 2):
        return "it does not know the DICOM application context; is it a DICOM application?"
    if (error.result, *which) == (1, 2, 1):  # PS3.7 D.3.3.7.3
        user = connection.user
        if user is None:
            remedy = "it may let in users by name and password alone: give them with --user and --password-file"
        elif user.passcode is None:
            remedy = f"it may not know the user {user.name!r}, or want a password: give it with --password-file"
        else:
            remedy = f"it may not know the user {user.name!r} by this password: check --user and --password-file"
        return f"{_after_colon(error)}; {remedy}; its log may say why"
    if error.result == 2:
        return f"{_after_colon(error)}; it may accept a later attempt"
    return f"{_after_colon(error)}; its log may say why, and whether it wants other AE titles (-aet, -aec)"


def _aborted(error: AssociationAborted, connection: Connection) -> str:
    text = str(error)
    if "A-ASSOCIATE" in text:
        return f"{text}; is it a DICOM application? -ta allows it more time"
    if "PDU" in text:
        return f"{_after_colon(error)}; is it a DICOM application?"
    if error.source is None:
        return f"{text}; its log may say why"
    return f"{_after_colon(error)}; its log may say why"


def _after_colon(error: DicomError) -> str:
    return str(error).partition(": ")[2] or str(error)
