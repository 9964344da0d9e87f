"""The contracts between txdicom and those who extend it: what an add-in author reads first.

An add-in is any object that provides `IDicomAddin`, and beside it what it wants to do: `IProcessCEcho`,
`IProcessCStore`, `IProcessN…`. Its `on_…` methods say by `@presentation_context` what they answer for.
"""

from txdicom.interfaces.addin import IDicomAddin, IServer, IStaging, IWriter
from txdicom.interfaces.contexts import declared_contexts, presentation_context
from txdicom.interfaces.messages import (
    IProcessCEcho,
    IProcessCStore,
    IProcessNAction,
    IProcessNCreate,
    IProcessNDelete,
    IProcessNEventReport,
    IProcessNGet,
    IProcessNSet,
    IReceivedInstance,
    IRequest,
)
from txdicom.uids import ANY_STORAGE

__all__ = [
    "ANY_STORAGE",
    "IDicomAddin",
    "IProcessCEcho",
    "IProcessCStore",
    "IProcessNAction",
    "IProcessNCreate",
    "IProcessNDelete",
    "IProcessNEventReport",
    "IProcessNGet",
    "IProcessNSet",
    "IReceivedInstance",
    "IRequest",
    "IServer",
    "IStaging",
    "IWriter",
    "declared_contexts",
    "presentation_context",
]
