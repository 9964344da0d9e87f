"""Who asks for an association: the user identity (PS3.7 D.3.3.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from txdicom.pdu.types import UserIdentityRQ

#: bytes of a field: its length has two (PS3.7 Table D.3-14)
_MOST: Final = 65_535


@dataclass(frozen=True, slots=True)
class User:
    """A user by name, or by name and passcode: the types 1 and 2 (PS3.7 D.3.3.7.1). Its repr hides the passcode.

    Both go out in UTF-8, and without TLS whoever is on the way can read them. ValueError for what cannot be sent.
    """

    name: str
    passcode: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for what, value in (("name", self.name), ("passcode", self.passcode)):
            if value is not None and not 0 < len(value.encode(errors="surrogatepass")) <= _MOST:
                raise ValueError(f"a user's {what} has 1 to {_MOST} bytes in UTF-8")
        try:
            self.item()
        except UnicodeEncodeError:  # it would quote the passcode
            raise ValueError("a user has a name and a passcode that can be written in UTF-8") from None

    def item(self) -> UserIdentityRQ:
        """As it is sent. No response is asked for: the acceptor's yes to the association is the answer."""
        if self.passcode is None:
            return UserIdentityRQ(1, self.name.encode())
        return UserIdentityRQ(2, self.name.encode(), self.passcode.encode())
