"""What every add-in is, and what it is given."""

from zope.interface import Attribute, Interface


class IDicomAddin(Interface):
    """An add-in: an object with an identity and a life. What it does is said by the other interfaces it provides.

    In a file of the server's folder `addins/` it is a module-level object, or a class that can be made without
    arguments. It is made before a daemon goes to the background: threads, sockets and timers are for `load`, not for
    the module. `load` and `unload` may be plain methods, coroutines, or return Deferreds.
    """

    name = Attribute("str: unique among the add-ins of a server, 1 to 64 letters, digits, _ and -; names its settings")
    version = Attribute("str: the add-in's version")
    description = Attribute("str: a sentence for the operator")
    author = Attribute("str: who wrote it")

    def load(server):  # type: ignore[no-untyped-def]  # an interface's method
        """Called once before the server accepts associations, with an `IServer`; every base service is there.

        Raising `txdicom.errors.NotConfigured("why")` opts out, which is logged and is no error. With any other
        exception the add-in is left out: it is logged with the reason, and the server runs without it. Where the add-in
        is in `addins.required`, or has provided base services, either ends the start. Where the server is told to stop
        meanwhile, the Deferred or coroutine is cancelled, and no further add-in is loaded.
        """

    def unload():  # type: ignore[no-untyped-def]  # an interface's method
        """Called once when the server stops, after the last association has ended, in reverse order of `load`.

        It is called only where `load` succeeded; an exception is logged.
        """


def name_of(addin: object) -> str:
    """What messages call an add-in, or another object in its place."""
    return str(getattr(addin, "name", type(addin).__name__))


class IServer(Interface):
    """The server as an add-in sees it."""

    ae_title = Attribute("str: the server's AE title")
    folder = Attribute("str: the path of the server's folder; None for a server that has none (`txdicom.scp.listen`)")
    addins = Attribute("tuple of the add-ins that take part, in the order they are loaded; read-only")

    def service(interface):  # type: ignore[no-untyped-def]  # an interface's method
        """The base service that provides `interface`; LookupError with its name where there is none."""


class IStaging(Interface):
    """Base service: the folder that large data sets are received into."""

    def use(folder):  # type: ignore[no-untyped-def]  # an interface's method
        """Has them received into `folder` from now on.

        For an add-in that gives the files their place by renaming them, which works within one file system only. It
        also removes what a crash left there: files named by eight hexadecimal digits, "-", a number and ".part".
        """


class IWriter(Interface):
    """Base service: the one thread that writes received instances to the disk.

    A group of what waits is handed over at once, so that a flush and a call back into the reactor serve many.
    """

    def submit(handler, item, done):  # type: ignore[no-untyped-def]  # an interface's method
        """Has `handler([item, …])` called in the writer thread with every item submitted for it meanwhile.

        The handler must not raise: each item carries its own result. Then `done(item)` is called in the reactor.
        """
