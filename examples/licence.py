"""A licence: copy it into the folder configuration/ of a server, which then runs only with a key that is valid.

The key is the file licence.json in the server's folder, {"until": "2027-12-31", "clients": 20}. A real one would be
signed by who sells it, and checked here with his public key.
"""

import json
from datetime import date
from pathlib import Path

from zope.interface import implementer

from txdicom.errors import LicenseError
from txdicom.interfaces import ILicense, IServerConfig


@implementer(ILicense)
class Licence:
    def __init__(self, path):
        self.path = path
        self.limits = {}

    def check(self):
        try:
            key = json.loads(self.path.read_text())
        except OSError as error:
            raise LicenseError(
                f"there is no key at {self.path} ({error.strerror}): put the one you bought there"
            ) from None
        if date.fromisoformat(key["until"]) < date.today():
            raise LicenseError(f"the key in {self.path} was valid until {key['until']}: buy another")
        self.limits = {"max_clients": key["clients"]}


@implementer(IServerConfig)
class LicenceAddin:
    name = "licence"

    def configure_server(self, server):
        server.provide(ILicense, Licence(Path(server.folder, "licence.json")))
