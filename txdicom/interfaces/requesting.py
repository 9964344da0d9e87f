"""The request service: every DIMSE service towards a peer, by its AE title."""

from zope.interface import Interface


class IDicomRequest(Interface):
    """Base service: asks peers for DIMSE services, as the user of the service (SCU); N-EVENT-REPORT as its provider.

    `ae_title` names the peer; where it listens is what `IAETitle` says. Each method returns a Deferred. Associations
    are opened as they are needed, kept for a few seconds for the next request, and released; at most a few at once to
    one peer, further requests wait. With `association`, that of a request being answered, that one is used where it is
    with this peer and a presentation context was accepted on which this side may ask (role selection, PS3.7 D.3.3.4).

    `timeout` is in seconds and goes for each response; without it the server's `dimse_timeout` does. Cancelling the
    Deferred ends the request. Errors: `NotFound` (no such AE title), `BadArgument`, `ConnectionFailed`,
    `AssociationRejected`, `AssociationAborted`, `DimseTimeout`, and `LocalProtocolError` where the peer accepts no
    context for it. `status` is a `txdicom.dimse.status.Status`; one that is a failure is returned, not raised, but by
    C-FIND, C-MOVE and C-GET (`StatusError`).
    """

    def c_echo(ae_title, *, association=None, timeout=None):  # type: ignore[no-untyped-def]  # an interface's method
        """C-ECHO (PS3.7 §9.1.5): fires with the status."""

    def c_store(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, instance, *, priority=0, association=None, timeout=None
    ):
        """C-STORE (PS3.7 §9.1.1) of one instance: fires with the status.

        `instance` is the path of a DICOM file, an `IReceivedInstance` such as `request.received` (to be kept until
        this has fired: answer the request afterwards), or a pydicom Dataset. A file's data set goes out byte for byte;
        where the peer does not accept its transfer syntax, an uncompressed one is encoded anew. `BadArgument` for what
        cannot be sent.
        """

    def c_find(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, identifier, *, level=None, model="STUDY", priority=0, most=10_000, association=None, timeout=None
    ):
        """C-FIND (PS3.7 §9.1.2): fires with the matches, a list of pydicom Datasets.

        `identifier` is a Dataset or a mapping of keywords to values, "" for any; `level` PATIENT, STUDY, SERIES or
        IMAGE; `model` STUDY, PATIENT, or the UID of another SOP class. With over `most` matches the query is cancelled
        and fails with `BadArgument`.
        """

    def c_move(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, identifier, destination, *, level=None, model="STUDY", priority=0, association=None, timeout=None
    ):
        """C-MOVE (PS3.7 §9.1.4) to the AE title `destination`, as the peer knows it.

        Fires with its end: `status`, and the counts of sub-operations `completed`, `failed`, `warning`.
        """

    def c_get(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, identifier, handler, *, level=None, model="STUDY", storage=(), priority=0, timeout=None
    ):
        """C-GET (PS3.7 §9.1.3): as `c_move`; `handler` is called for each instance as `on_c_store` is.

        `storage` are the SOP classes to take, at most 127; without them the usual ones. It has an association to
        itself.
        """

    def n_event_report(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title,
        sop_class,
        sop_instance,
        event_type,
        information=None,
        *,
        abstract_syntax="",
        association=None,
        timeout=None,
    ):
        """N-EVENT-REPORT (PS3.7 §10.1.1): fires with the status and the Event Reply, a Dataset or None.

        It is sent as the provider of the SOP class: on a new association that role is proposed (PS3.4 J.3.3).
        `abstract_syntax`, here and below, is for a class negotiated under another's UID (a Meta SOP Class, UPS Push).
        """

    def n_get(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, sop_class, sop_instance, attributes=(), *, abstract_syntax="", association=None, timeout=None
    ):
        """N-GET (PS3.7 §10.1.2) of the tags `attributes`, or of all: fires with the status and the Attribute List."""

    def n_set(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, sop_class, sop_instance, modifications, *, abstract_syntax="", association=None, timeout=None
    ):
        """N-SET (PS3.7 §10.1.3): fires with the status and the Attribute List, a Dataset or None."""

    def n_action(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title,
        sop_class,
        sop_instance,
        action_type,
        information=None,
        *,
        abstract_syntax="",
        association=None,
        timeout=None,
    ):
        """N-ACTION (PS3.7 §10.1.4): fires with the status and the Action Reply, a Dataset or None."""

    def n_create(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, sop_class, sop_instance=None, attributes=None, *, abstract_syntax="", association=None, timeout=None
    ):
        """N-CREATE (PS3.7 §10.1.5): fires with the status and the Attribute List, a Dataset or None."""

    def n_delete(  # type: ignore[no-untyped-def]  # an interface's method
        ae_title, sop_class, sop_instance, *, abstract_syntax="", association=None, timeout=None
    ):
        """N-DELETE (PS3.7 §10.1.6): fires with the status and None."""
