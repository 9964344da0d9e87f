"""An AE-title service on SQLite, in the place of aetitles.toml: as an add-in of a server, or on its own.

cp examples/sqlite_ae_titles.py var/TXDICOM/addins/    # then the server keeps its AE titles in aetitles.db
python examples/sqlite_ae_titles.py FILE.db [PORT]     # makes the file; only callers that are in it are let in
sqlite3 FILE.db "INSERT INTO ae VALUES ('MODALITY', '127.0.0.1', 104)"
"""

import os
import sqlite3
import sys
from contextlib import closing

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from txdicom.errors import Conflict, NotFound
from txdicom.interfaces import AEEntry, IAETitle, IBaseServiceProvider, IDicomAddin


@implementer(IDicomAddin, IBaseServiceProvider, IAETitle)
class SQLiteAETitles:
    name, version, author = "sqlite-ae-titles", "1.0", "you"
    description = "Keeps the AE titles in SQLite"

    def __init__(self, path=""):
        # beside the folder addins/ in which this file is
        self.path = path or os.path.join(os.path.dirname(__file__), os.pardir, "aetitles.db")

    async def register(self, services):
        """Before any default, and before any add-in is loaded: what is offered here is what others ask for."""
        await self._do("CREATE TABLE IF NOT EXISTS ae (ae_title TEXT PRIMARY KEY, host TEXT, port INTEGER)")
        services.provide(IAETitle, self)

    def load(self, server):
        pass

    def unload(self):
        pass

    # -- IAETitle: each method may be a coroutine --

    async def add(self, entry):
        try:
            await self._do("INSERT INTO ae VALUES (?, ?, ?)", entry.ae_title, entry.host, entry.port)
        except sqlite3.IntegrityError:
            raise Conflict(f"{entry.ae_title} is there already") from None

    async def update(self, ae_title, entry):
        await self.get(ae_title)
        try:
            sql = "UPDATE ae SET ae_title = ?, host = ?, port = ? WHERE ae_title = ?"
            await self._do(sql, entry.ae_title, entry.host, entry.port, ae_title)
        except sqlite3.IntegrityError:
            raise Conflict(f"{entry.ae_title} is there already") from None

    async def remove(self, ae_title):
        await self.get(ae_title)
        await self._do("DELETE FROM ae WHERE ae_title = ?", ae_title)

    async def get(self, ae_title):
        for row in await self._do("SELECT * FROM ae WHERE ae_title = ?", ae_title.strip()):
            return _entry(row)
        raise NotFound(f"{ae_title} is not there")

    async def get_all(self):
        return [_entry(row) for row in await self._do("SELECT * FROM ae ORDER BY ae_title")]

    async def validate(self, association):
        """Who is in the table may come from its host; who is not, if the server lets anybody in."""
        try:
            entry = await self.get(association.calling_ae)
        except NotFound:
            return association.config.allow_anonymous
        return not entry.host or association.peer.host == entry.host

    def _do(self, sql, *values):
        """Runs in a thread: the reactor does not wait for the disk."""

        def run():
            with closing(sqlite3.connect(self.path)) as database, database:
                return database.execute(sql, values).fetchall()

        return deferToThread(run)


def _entry(row):
    return AEEntry(ae_title=row[0], host=row[1], port=row[2])


async def main(reactor, path, port="11115"):
    from txdicom.addins.verification import VerificationAddin
    from txdicom.scp import listen

    server = await listen(
        reactor,
        f"tcp:{port}:interface=127.0.0.1",
        ae_title="SQLITE",
        addins=[SQLiteAETitles(path), VerificationAddin()],
        allow_anonymous=False,
    )
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.stop()))
    print("SQLITE listens on port", server.ports[0].getHost().port, flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    react(main, sys.argv[1:])
