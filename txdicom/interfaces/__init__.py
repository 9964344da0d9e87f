"""The contracts between txdicom and those who extend it: what an add-in author reads first.

An add-in is any object that provides `IDicomAddin`, and beside it what it wants to do: `IProcessCEcho`,
`IProcessCStore`, `IProcessN…`. Its `on_…` methods say by `@presentation_context` what they answer for.
"""

from txdicom.interfaces.addin import IDicomAddin, IServer, IStaging, IWriter
from txdicom.interfaces.ae_titles import AEEntry, IAETitle
from txdicom.interfaces.answers import InstanceRef, Match, Retrieval
from txdicom.interfaces.contexts import declared_contexts, presentation_context
from txdicom.interfaces.control import IProcessServiceMessage, IServerControl, ServiceMessage
from txdicom.interfaces.handlers import blocking, is_blocking
from txdicom.interfaces.logging import REDACTED, IServiceLog, Private
from txdicom.interfaces.messages import (
    IProcessCEcho,
    IProcessCFind,
    IProcessCGet,
    IProcessCMove,
    IProcessCStore,
    IProcessNAction,
    IProcessNCreate,
    IProcessNDelete,
    IProcessNEventReport,
    IProcessNGet,
    IProcessNSet,
    IQueryRequest,
    IReceivedInstance,
    IRequest,
)
from txdicom.interfaces.negotiation import (
    IdentityAccepted,
    IdentityRefused,
    IExtendedNegotiation,
    IPresentationContextProvider,
    IRequireUserIdentity,
    IRoleSelectionProvider,
    IUserIdentity,
    Roles,
    UserIdentity,
)
from txdicom.interfaces.observers import (
    Change,
    INotifyReceiveMessage,
    INotifySendMessage,
    MessageEvent,
    PDUEvent,
    Veto,
)
from txdicom.interfaces.options import IAddinOptions
from txdicom.interfaces.requesting import IDicomRequest
from txdicom.interfaces.security import IDicomSecurity
from txdicom.interfaces.services import (
    IBaseServiceProvider,
    IBaseServices,
    ILicense,
    IServerConfig,
    IServerConfiguration,
)
from txdicom.uids import ANY_STORAGE

__all__ = [
    "ANY_STORAGE",
    "REDACTED",
    "AEEntry",
    "Change",
    "IAETitle",
    "IAddinOptions",
    "IBaseServiceProvider",
    "IBaseServices",
    "IDicomAddin",
    "IDicomRequest",
    "IDicomSecurity",
    "IExtendedNegotiation",
    "ILicense",
    "INotifyReceiveMessage",
    "INotifySendMessage",
    "IPresentationContextProvider",
    "IProcessCEcho",
    "IProcessCFind",
    "IProcessCGet",
    "IProcessCMove",
    "IProcessCStore",
    "IProcessNAction",
    "IProcessNCreate",
    "IProcessNDelete",
    "IProcessNEventReport",
    "IProcessNGet",
    "IProcessNSet",
    "IProcessServiceMessage",
    "IQueryRequest",
    "IReceivedInstance",
    "IRequest",
    "IRequireUserIdentity",
    "IRoleSelectionProvider",
    "IServer",
    "IServerConfig",
    "IServerConfiguration",
    "IServerControl",
    "IServiceLog",
    "IStaging",
    "IUserIdentity",
    "IWriter",
    "IdentityAccepted",
    "IdentityRefused",
    "InstanceRef",
    "Match",
    "MessageEvent",
    "PDUEvent",
    "Private",
    "Retrieval",
    "Roles",
    "ServiceMessage",
    "UserIdentity",
    "Veto",
    "blocking",
    "declared_contexts",
    "is_blocking",
    "presentation_context",
]
