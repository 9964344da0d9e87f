"""Settings of an add-in, which an operator writes and a manager can show as a form."""

from zope.interface import Attribute, Interface


class IAddinOptions(Interface):
    """An add-in with settings: those of `addins.d/<name>.toml` and of `[addins.<name>]` in server.toml.

    They are read and checked before the server opens a port. Every mistake, an unknown key too, is reported with file
    and line, and ends the start.
    """

    settings_model = Attribute(
        "the class of the settings, a pydantic model; a field's description is what an operator reads about it"
    )

    def apply(settings):  # type: ignore[no-untyped-def]  # an interface's method
        """Takes the checked settings, an object of `settings_model`: before `register` and `load`, and on a change.

        It may be a plain method, a coroutine, or return a Deferred. Where it raises, the add-in is treated as one whose
        `load` has failed.
        """
