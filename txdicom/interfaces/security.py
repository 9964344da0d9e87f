"""The base service of TLS."""

from zope.interface import Interface


class IDicomSecurity(Interface):
    """Base service: what TLS connections are made with, in both roles. The default takes the settings of `[tls]`.

    All methods are called in the reactor's thread, and are to return at once.
    """

    def server_options():  # type: ignore[no-untyped-def]  # an interface's method
        """For one connection that a port of `secure_listen` has accepted.

        Returns a provider of `twisted.internet.interfaces.IOpenSSLServerConnectionCreator`, such as a
        `twisted.internet.ssl.CertificateOptions`. It is asked for each connection, so that what it returns may change
        meanwhile. An exception is logged and closes the connection.
        """

    def client_options(host, verify_host_name=None):  # type: ignore[no-untyped-def]  # an interface's method
        """For one connection to a peer, called by the name or address `host` (str).

        `verify_host_name` (bool) is what the AE table says of this peer, None where it says nothing: then the setting
        holds. Returns a provider of `twisted.internet.interfaces.IOpenSSLClientConnectionCreator`, which is to check
        the peer's certificate. `SettingsError` with a sentence for what is missing; the connection is not opened then,
        and whoever asked for it gets a `ConnectionFailed` with that sentence.
        """

    def reload():  # type: ignore[no-untyped-def]  # an interface's method
        """Takes certificates and keys anew, for connections to come; those there are go on.

        `txdicom.errors.SettingsError` with a sentence for every problem: then those in use stay.
        """
