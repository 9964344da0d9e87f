"""`txdicom user`: the users that a server lets in; it works on the server's password file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from txdicom.cli.managing import with_files
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_server
from txdicom.cli.output import Output
from txdicom.cli.tables import show_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.scp.passwords import PasswordFile
    from txdicom.server.managing.manager import ServiceAdministrator

F = TypeVar("F", bound="Callable[..., Any]")

#: in a server's folder, where its settings name no other file
_DEFAULT: Final = "passwords"


def _of_a_file(command: F) -> F:
    """Which password file: that of a server, or one by its path."""
    path = click.option("--file", "path", metavar="FILE", help="This password file, instead of a server's.")
    return of_a_server(path(command))


@click.group(short_help="Users: add, list, remove those that a server lets in by name and password.")
def user() -> None:
    """The users that a server lets in by name and password (PS3.7 D.3.3.7).

    They are in the file that the setting server.password_file names; where it names none, in `passwords` in the
    server's folder, which counts once the setting names it. From then on whoever calls without a user identity is
    rejected, unless server.password_required is false. A server that runs notices a change of the file at once.

    \b
    Examples:
      txdicom user add alice
      txdicom server set server.password_file=passwords
      txdicom server restart
    """


@user.command(short_help="Add a user, or give one another password.")
@click.argument("name", metavar="NAME")
@click.option("--name-only", is_flag=True, help="The user gives a name and no password (user identity type 1).")
@click.option("--stdin", is_flag=True, help="Read the password from the first line of standard input.")
@_of_a_file
def add(name: str, name_only: bool, stdin: bool, path: str | None, base: str | None, ae_title: str | None) -> int:
    """Add the user NAME, or give the user another password. It is asked for twice, and only its hash is kept.

    \b
    Examples:
      txdicom user add alice
      txdicom user add --name-only modality-2
      txdicom user add --stdin alice < secret.txt
    """
    if name_only and stdin:
        raise click.UsageError("--name-only and --stdin exclude each other: a user has a password or has none")

    def work(users: PasswordFile) -> int:
        there = os.path.exists(users.path) and name in users.users([])
        password = None if name_only else _password(name, stdin=stdin)
        users.add(name, password)
        what = "needs no password" if name_only else "has another password"
        Output().say(f"{name} {what} now" if there else f"{name} is added to {users.path}")
        return 0

    return _with_file(path, base, ae_title, work, hint=True)


@user.command("list", short_help="List the users of a server.")
@_of_a_file
@json_option
def list_(path: str | None, base: str | None, ae_title: str | None, as_json: bool) -> int:
    """List the users, and whether they have a password. What cannot be read of the file is said, with its line.

    \b
    Examples:
      txdicom user list
      txdicom user list --base /srv/dicom --ae-title ARCHIVE

    --json prints an object for each: type "user", name, password (whether there is one).
    """

    def work(users: PasswordFile) -> int:
        output = Output(as_json=as_json)
        problems: list[str] = []
        found = users.users(problems)
        for name, has_password in found.items():
            output.record("user", name=name, password=has_password)
        if not as_json:
            words = {True: "password", False: "name only"}
            show_rows(("user", "identity"), [(name, words[one]) for name, one in found.items()])
        for problem in problems:
            output.complain(f"{users.path}: {problem}")
        return 1 if problems else 0

    return _with_file(path, base, ae_title, work)


@user.command(short_help="Remove a user.")
@click.argument("name", metavar="NAME")
@_of_a_file
def remove(name: str, path: str | None, base: str | None, ae_title: str | None) -> int:
    """Remove the user NAME. Associations that the user has stay.

    \b
    Example:
      txdicom user remove alice
    """

    def work(users: PasswordFile) -> int:
        users.remove(name)
        return 0

    return _with_file(path, base, ae_title, work)


def _password(name: str, *, stdin: bool) -> str:
    """Asked for, or read; never an argument, which others see in the list of processes."""
    if stdin:
        line = sys.stdin.buffer.readline(8192)
        try:
            return line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            raise ValueError("the password on standard input is not in UTF-8") from None
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password: give it in a line of --stdin")
    return str(click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt="The same again", err=True))


def _with_file(
    path: str | None,
    base: str | None,
    ae_title: str | None,
    work: Callable[[PasswordFile], int],
    *,
    hint: bool = False,
) -> int:
    """Does `work` on the password file that is meant; the exit status. What is wrong is said in sentences.

    With `hint` it is said, too, if the file has no effect yet.
    """

    def with_administrator(administrator: ServiceAdministrator) -> int:
        from txdicom.scp.passwords import PasswordFile

        title, where = ("", path) if path is not None else _of_the_server(administrator, ae_title)
        try:
            status = work(PasswordFile(where))
        except (ValueError, LookupError) as error:
            return Output().fail(ValueError(error.args[0]))
        except OSError as error:
            return Output().fail(ValueError(f"{error.filename or where}: {error.strerror}"))
        if hint and title:
            remedy = f"`txdicom server set --ae-title {title} server.password_file={_DEFAULT}`, then restart it"
            Output().complain(f"{title} does not ask for users yet: {remedy}")
        return status

    return with_files(base, with_administrator)


def _of_the_server(administrator: ServiceAdministrator, ae_title: str | None) -> tuple[str, str]:
    """The password file of a server, and before it the server's title if its settings name none yet."""
    from txdicom.server.settings.tables import read_settings

    title = administrator.find(ae_title)
    folder = administrator.folder(title)
    folder.check_owner()
    name = read_settings(folder.text_of(folder.settings_file), ae_title=title).server.password_file
    return "" if name else title, os.path.join(folder.path, name or _DEFAULT)
