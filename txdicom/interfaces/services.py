"""Base services, which add-ins ask the server for and may offer, and the phase in which a server is configured."""

from zope.interface import Attribute, Interface

from txdicom.interfaces.addin import IServer


class IBaseServices(Interface):
    """Takes the base services that an add-in offers; what `IBaseServiceProvider.register` is given."""

    def provide(interface, provider):  # type: ignore[no-untyped-def]  # an interface's method
        """Offers `provider`, which provides `interface`, to every add-in of the server.

        `txdicom.errors.AddinError` where it does not fulfil the interface (`zope.interface.verify.verifyObject`), or
        where another provides it already; the message names both.
        """


class IBaseServiceProvider(Interface):
    """An add-in that offers base services, new ones or in the place of a default."""

    def register(services):  # type: ignore[no-untyped-def]  # an interface's method
        """Called with an `IBaseServices` on all add-ins, before defaults fill the gaps and before any `load`.

        It may be a plain method, a coroutine, or return a Deferred. Services of others cannot be asked for yet.
        Where it raises, the add-in is left out with what it has offered: `NotConfigured` is no error, another
        exception is one, which ends the start if the add-in is required. Two add-ins that offer the same end it
        always. Once its services are taken the others rely on them: then a `load` that fails or opts out ends the
        start, too.
        """


class IServerConfiguration(IServer):
    """The server in its configuration phase: no port is open yet, and no ordinary add-in is imported."""

    def provide(interface, provider):  # type: ignore[no-untyped-def]  # an interface's method
        """As in `IBaseServices`: what is provided here goes before every default, `ILicense` included."""


class IServerConfig(Interface):
    """A configuration add-in: an object in a file of the server's folder `configuration/`.

    It need not provide `IDicomAddin`, and is neither loaded nor unloaded. One that cannot be imported, or fails, ends
    the start: what it would have said about the server, its licence perhaps, must not be lost unnoticed.
    """

    def configure_server(server):  # type: ignore[no-untyped-def]  # an interface's method
        """Called with an `IServerConfiguration`, in the order of the files' names.

        Under twistd the reactor does not run yet, and threads would not survive the way to the background: it may
        block, and has to have finished when it returns (a coroutine that waits for the reactor is an error). Raising
        `NotConfigured("why")` opts out, which is logged.
        """


class ILicense(Interface):
    """Base service: whether this server may run, and how large. Provided by a configuration add-in; default: it may."""

    limits = Attribute(
        "dict: the most that max_clients and max_clients_per_ae (the keys) may be; settings above are lowered to it"
    )

    def check():  # type: ignore[no-untyped-def]  # an interface's method
        """Returns where the server may run; else raises `txdicom.errors.LicenseError` with a sentence on why not.

        A refusal, and any other exception, ends the process with status 1 before a port is open. As for
        `configure_server`, the reactor does not run yet under twistd.
        """
