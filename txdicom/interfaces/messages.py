"""What an add-in provides to answer DIMSE messages, and what it is handed.

Every `on_…` method gets one `IRequest` and returns a status: an int, a name such as "Success", or a
`txdicom.dimse.status.Status` with an error comment. It may be a plain method, a coroutine, or return a Deferred. It
may also raise `StatusError(status)`. Any other exception is logged with its traceback and answered as "unable to
process"; so is an answer that does not come within `addin_timeout`. The association lives on.
"""

from zope.interface import Attribute, Interface


class IRequest(Interface):
    """One DIMSE request of a peer."""

    association = Attribute(
        "the association: calling_ae, called_ae, peer (the address), contexts, request (the A-ASSOCIATE-RQ)"
    )
    message_id = Attribute("int: the Message ID, 0 to 65,535")
    priority = Attribute("int or None: 0 medium, 1 high, 2 low; None for services that have none")
    sop_class = Attribute("str: the Affected or Requested SOP Class UID")
    sop_instance = Attribute("str: the Affected or Requested SOP Instance UID, '' where the service has none")
    abstract_syntax = Attribute("str: of the presentation context it came on")
    transfer_syntax = Attribute("str: of the presentation context it came on")
    command = Attribute("txdicom.dimse.command.Command: the command set")
    dataset = Attribute("pydicom Dataset: the data set, read when first asked for; None where the message has none")
    cancelled = Attribute(
        "str: '' while the answer is wanted, else why it is not: C-CANCEL, the peer gone, time-out, shutdown"
    )


class IReceivedInstance(Interface):
    """A data set that was received by C-STORE: in memory if it is small, in the staging folder if it is large.

    It is let go of when the handler has answered, unless the handler took the file (`detach`) or kept the buffers.
    """

    sop_class = Attribute("str: Affected SOP Class UID of the command set")
    sop_instance = Attribute("str: Affected SOP Instance UID of the command set")
    transfer_syntax = Attribute("str: of the presentation context")
    size = Attribute("int: bytes of the data set")
    buffers = Attribute("list of bytes-like objects, the data set in order; None where it is in a file")
    path = Attribute("str: the staged file, with File Meta Information and data set; None where it is in memory")
    data_offset = Attribute("int: where the data set begins in that file")

    def chunks():  # type: ignore[no-untyped-def]  # an interface's method
        """The data set as an iterator of bytes-like objects. Reads from the disk where it is in a file."""

    def save(path):  # type: ignore[no-untyped-def]  # an interface's method
        """Writes a DICOM file (PS3.10) with the data set byte for byte as received; blocks while it writes.

        OSError as `open` and `write` raise it; an existing file is replaced.
        """

    def detach():  # type: ignore[no-untyped-def]  # an interface's method
        """Takes the staged file over: (descriptor open for writing, path). The caller closes, renames or removes it."""


class IProcessCEcho(Interface):
    """Answers C-ECHO (PS3.7 §9.1.5)."""

    def on_c_echo(request):  # type: ignore[no-untyped-def]  # an interface's method
        """Returns the status, usually Success."""


class IProcessCStore(Interface):
    """Answers C-STORE (PS3.7 §9.1.1, PS3.4 B)."""

    def on_c_store(request):  # type: ignore[no-untyped-def]  # an interface's method
        """Called when the data set is complete, as `request.received` (an `IReceivedInstance`).

        Success says that the instance is safe. The framework has checked that the SOP class is the context's.
        """


class _IProcessN(Interface):
    """A DIMSE-N service: the answer is a status, or a pair of a status and a pydicom Dataset."""


class IProcessNEventReport(_IProcessN):
    """Answers N-EVENT-REPORT (PS3.7 §10.1.1)."""

    def on_n_event_report(request):  # type: ignore[no-untyped-def]  # an interface's method
        """`request.dataset` is the Event Information; a data set in the answer the Event Reply."""


class IProcessNGet(_IProcessN):
    """Answers N-GET (PS3.7 §10.1.2)."""

    def on_n_get(request):  # type: ignore[no-untyped-def]  # an interface's method
        """`request.command.attribute_identifier_list` says what is wanted; an answer's data set the Attribute List."""


class IProcessNSet(_IProcessN):
    """Answers N-SET (PS3.7 §10.1.3)."""

    def on_n_set(request):  # type: ignore[no-untyped-def]  # an interface's method
        """`request.dataset` is the Modification List; a data set in the answer the Attribute List."""


class IProcessNAction(_IProcessN):
    """Answers N-ACTION (PS3.7 §10.1.4)."""

    def on_n_action(request):  # type: ignore[no-untyped-def]  # an interface's method
        """`request.dataset` is the Action Information, or None; a data set in the answer the Action Reply."""


class IProcessNCreate(_IProcessN):
    """Answers N-CREATE (PS3.7 §10.1.5)."""

    def on_n_create(request):  # type: ignore[no-untyped-def]  # an interface's method
        """`request.dataset` is the Attribute List, or None. `request.sop_instance` is '' where the SCP chooses."""


class IProcessNDelete(_IProcessN):
    """Answers N-DELETE (PS3.7 §10.1.6)."""

    def on_n_delete(request):  # type: ignore[no-untyped-def]  # an interface's method
        """A status alone."""
