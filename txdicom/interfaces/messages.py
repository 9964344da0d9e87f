"""What an add-in provides to answer DIMSE messages, and what it is handed.

Every `on_…` method gets one `IRequest` and returns a status: an int, a name such as "Success", or a
`txdicom.dimse.status.Status` with an error comment. It may be a plain method, a coroutine, or return a Deferred; one
that waits for a disk, a database or a program is marked `@blocking` and runs in a thread. It may also raise
`StatusError(status)`. Any other exception is logged with its traceback and answered as "unable to
process"; so is an answer that does not come within `addin_timeout`. The association lives on. C-FIND, C-MOVE and C-GET
have other answers (`txdicom.interfaces.answers`) and the same rules.
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


class IQueryRequest(IRequest):
    """A C-FIND, C-MOVE or C-GET. It can be cancelled: `cancelled` says so, and whoever waits gets CancelledError."""

    identifier = Attribute(
        "pydicom Dataset: what is asked for, the same as `dataset`; one that cannot be read raises StatusError"
        " (0xC000), which a handler need not catch"
    )


class IReceivedInstance(Interface):
    """A data set that was received by C-STORE: in memory if it is small, in the staging folder if it is large.

    It is let go of when the handler has answered, unless the handler took the file (`detach`) or kept the buffers:
    then `chunks` and `save` raise ValueError.
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


class IProcessCFind(Interface):
    """Answers C-FIND (PS3.7 §9.1.2; PS3.4 C.4.1 queries, K.4 worklists)."""

    def on_c_find(request):  # type: ignore[no-untyped-def]  # an interface's method
        """Gives the matches of `request.identifier` (`request` is an `IQueryRequest`).

        A generator that yields them is the usual form; an async generator, any other iterable or async iterable, a
        coroutine or a Deferred that gives one do as well. A match is a pydicom Dataset, or
        `Match(dataset, unsupported_keys=True)` where optional keys of the query were not supported. Each goes out when
        it is yielded, as a response with the status FF00, or FF01; the next one is asked for when the peer has taken
        those before. After the last one the framework answers Success; `raise StatusError(Status)` ends with another
        status (A700 out of resources, A900 the identifier does not match the SOP class, B001 a limit was reached …).

        A match whose text is not ASCII has to say its Specific Character Set (PS3.4 C.4.1.1.3.2).

        `addin_timeout` runs anew from each match. When the peer cancels, or goes, or the server stops, or the time is
        over, the generator is closed where it stands: its `finally` runs. A match that is no Dataset, or cannot be
        encoded, is an error of the add-in: logged with its traceback and answered 0xC000.
        """


class IProcessCMove(Interface):
    """Answers C-MOVE (PS3.7 §9.1.4, PS3.4 C.4.2)."""

    def on_c_move(request):  # type: ignore[no-untyped-def]  # an interface's method
        """Says what `request.identifier` means: a `Retrieval` of instances, empty where there are none.

        `request` is an `IQueryRequest`; `request.destination` is the AE title the instances go to, which the framework
        has found already: one that is unknown is answered 0xA801 without asking the add-in. The framework opens the
        association to it, sends, counts and answers; an instance that cannot be sent is counted as failed and does
        not keep the others back. It may be a plain method, a coroutine, or return a Deferred; `raise
        StatusError(Status)` answers that status instead (A900: the identifier does not match the SOP class).

        `addin_timeout` runs anew from each instance.
        """


class IProcessCGet(Interface):
    """Answers C-GET (PS3.7 §9.1.3, PS3.4 C.4.3)."""

    def on_c_get(request):  # type: ignore[no-untyped-def]  # an interface's method
        """Says what `request.identifier` means: a `Retrieval`, as `IProcessCMove.on_c_move` does.

        The instances go out on the same association, under the presentation contexts for which the requestor took the
        role of the SCP; those for which there is none are counted as failed.
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
