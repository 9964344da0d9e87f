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
        """Takes the checked settings, an object of `settings_model`: before `register` and `load`, and on each change.

        A change comes while the server runs, from an administrator or because the files are read again. What is being
        answered goes on meanwhile; with workers every one of them has an add-in of its own, which gets it.

        It may be a plain method, a coroutine, or return a Deferred. Where it raises at the start, the add-in is treated
        as one whose `load` has failed. Where it raises on a change, or has not finished within `addin_timeout`, who
        asked for the change is told (the text of a `txdicom.errors.DicomError`, of another only its type; the log has
        all), nothing of the change holds, and it is called again with the settings of before: it must be able to take
        them after a failure in between.
        """
