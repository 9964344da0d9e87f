"""What an instance to be stored may be given as, brought into one form: where its data set is, and what it is."""

from __future__ import annotations

import os
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.threads import deferToThreadPool

from txdicom import uids
from txdicom.errors import BadArgument, LocalProtocolError
from txdicom.interfaces import IReceivedInstance
from txdicom.net.sending import FileSource, MemorySource, PaddedFileSource
from txdicom.part10 import file_meta
from txdicom.scu import reencode
from txdicom.scu.files import Instance, Unsendable, open_instance, selected, why
from txdicom.scu.sender import route_over

if TYPE_CHECKING:
    from pydicom import Dataset

    from txdicom.net.association import Association
    from txdicom.net.sending import DataSource


class Sendable(NamedTuple):
    """An instance; `data` is its data set where that is in memory, else it is in the file."""

    instance: Instance
    data: bytes | None = None


async def sendable(reactor: Any, given: Any) -> Sendable:
    """`given` in this form: the path of a DICOM file, an `IReceivedInstance`, or a Dataset. Raises BadArgument."""
    if IReceivedInstance.providedBy(given):
        return _received(given)
    if isinstance(given, str | os.PathLike):
        found, *others = (await selected(reactor, given)).files or [Unsendable(os.fspath(given), "an empty folder")]
        if others:
            raise BadArgument([f"{given} is a folder, and one instance is asked for"])
        if isinstance(found, Unsendable):
            raise BadArgument([f"{found.path}: {found.reason}"])
        return Sendable(found)
    from pydicom import Dataset

    if isinstance(given, Dataset):
        made: Sendable = await deferToThreadPool(reactor, reactor.getThreadPool(), _encoded, given)
        return made
    raise BadArgument([f"{type(given).__name__} is no instance: give a path, a received instance or a Dataset"])


async def prepared(reactor: Any, one: Sendable, association: Association) -> tuple[int, DataSource]:
    """The presentation context to send it on, and the source of its data set, encoded anew if need be.

    LocalProtocolError where the peer has accepted no context for it, BadArgument where it cannot be read or encoded.
    """
    instance = one.instance
    exact = association.context_for(instance.sop_class, (instance.transfer_syntax,))
    if exact is not None:
        return exact.context_id, _source(one)
    route = route_over([association], instance) if association.requestor else "another transfer syntax was accepted"
    if isinstance(route, str):
        raise LocalProtocolError(route)
    if instance.size > reencode.LARGEST:
        raise BadArgument(
            [f"its transfer syntax was not accepted, and over {reencode.LARGEST} bytes are not re-encoded"]
        )
    where: Any = instance.path
    if one.data is not None:
        meta = file_meta(instance.sop_class, instance.sop_instance, instance.transfer_syntax)
        where = BytesIO(meta + one.data)
    syntax = route.context.transfer_syntax
    try:
        data = await deferToThreadPool(reactor, reactor.getThreadPool(), reencode.reencoded, where, syntax)
    except ValueError as error:
        raise BadArgument([str(error)]) from error
    return route.context.context_id, MemorySource(data)


def _source(one: Sendable) -> DataSource:
    """The data set as it is; a deflated one of odd length gets the zero byte that PS3.5 A.5 asks for."""
    odd = one.instance.size % 2 and one.instance.transfer_syntax in uids.DEFLATED
    if one.data is not None:
        return MemorySource(one.data + b"\0" if odd else one.data)
    try:
        fd, instance = open_instance(one.instance)
    except (OSError, ValueError) as error:
        raise BadArgument([f"{one.instance.path}: {why(error)}"]) from error
    return (PaddedFileSource if odd else FileSource)(fd, instance.data_offset, instance.size)


def _received(received: Any) -> Sendable:
    identity = (received.sop_class, received.sop_instance, received.transfer_syntax)
    if received.buffers is not None or received.path is None:
        data = b"".join(received.chunks())
        return Sendable(Instance("", *identity, 0, len(data), 0), data)
    status = os.stat(received.path)
    return Sendable(Instance(received.path, *identity, received.data_offset, received.size, status.st_mtime_ns))


def _encoded(dataset: Dataset) -> Sendable:
    from txdicom.services.encoding import write_dataset

    meta = getattr(dataset, "file_meta", None)
    implicit, little_endian = dataset.original_encoding
    syntax = str(getattr(meta, "TransferSyntaxUID", ""))
    if not syntax and little_endian is False:
        syntax = uids.EXPLICIT_VR_BIG_ENDIAN
    syntax = syntax or (uids.IMPLICIT_VR_LITTLE_ENDIAN if implicit else uids.EXPLICIT_VR_LITTLE_ENDIAN)
    sop_class, sop_instance = str(dataset.get("SOPClassUID", "")), str(dataset.get("SOPInstanceUID", ""))
    problems = [
        f"its {what} {uid!r} is no UID"
        for what, uid in (("SOP Class UID", sop_class), ("SOP Instance UID", sop_instance))
        if not uids.is_uid(uid)
    ]
    if problems:
        raise BadArgument(problems)
    try:
        data = write_dataset(dataset, syntax)
    except Exception as error:
        raise BadArgument([f"it cannot be encoded in {uids.name_of(syntax)}: {error}"]) from error
    return Sendable(Instance("", sop_class, sop_instance, syntax, 0, len(data), 0), data)
