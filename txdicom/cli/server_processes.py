"""`txdicom server start`, `stop`, `restart`, `pause` and `resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from txdicom.cli.managing import with_servers
from txdicom.cli.options import as_json as json_option
from txdicom.cli.options import of_a_base
from txdicom.cli.output import Output
from txdicom.server.managing.patience import AFTER_DRAIN, START_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from txdicom.errors import DicomError
    from txdicom.server.managing.manager import FoundServer, ServiceAdministrator

_TITLE = click.argument("title", metavar="[AE]", required=False)
_SECONDS = click.FloatRange(min=0, min_open=True)
_READY = click.option(
    "--timeout",
    metavar="SECONDS",
    type=_SECONDS,
    default=START_TIMEOUT,
    show_default=True,
    help="For a server to be ready.",
)
_ENDED = click.option(
    "--timeout",
    metavar="SECONDS",
    type=_SECONDS,
    help=f"For the server to end; else its drain_timeout and {AFTER_DRAIN} s.",
)
_FORCE = click.option("-f", "--force", is_flag=True, help="Abort running operations instead of letting them finish.")


@click.command(short_help="Start a server, and wait until it is ready.")
@_TITLE
@click.option("--all", "every", is_flag=True, help="All whose start_mode is automatic.")
@_READY
@of_a_base
@json_option
def start(title: str | None, every: bool, timeout: float, base: str | None, as_json: bool) -> int:
    """Start the server AE in the background, and wait until it is ready; say what has failed where it is not.

    \b
    Examples:
      txdicom server start
      txdicom server start ARCHIVE --timeout 300
      txdicom server start --all

    One that runs already is left alone. --all goes on after one that fails; the exit status is 0 only if all run.
    --json prints an object for each: type "started", ae_title, success, state, process, ports, errors.
    """
    if every and title is not None:
        raise click.UsageError("--all and a title do not go together")

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        if not every:
            return await _start(reactor, administrator, administrator.find(title), timeout, output)
        found = await administrator.servers(reactor)
        automatic = [one for one in found if one.start_mode == "automatic"]
        broken = [one for one in found if not one.start_mode and not one.running]
        statuses = [_report(output, one, one.problems) for one in broken]
        for one in automatic:
            statuses.append(await _start(reactor, administrator, one.ae_title, timeout, output))  # noqa: PERF401
        if not statuses:
            output.complain(f"there is no server in {administrator.base} whose start_mode is automatic")
        return max(statuses, default=0)

    return with_servers(base, work)


@click.command(short_help="Stop a server, and wait until it has ended.")
@_TITLE
@_FORCE
@_ENDED
@of_a_base
@json_option
def stop(title: str | None, force: bool, timeout: float | None, base: str | None, as_json: bool) -> int:
    """Stop the server AE: it takes no new associations, lets running operations finish, and ends.

    \b
    Examples:
      txdicom server stop
      txdicom server stop ARCHIVE --force

    --json prints one object: type "stopped", ae_title, was_running.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        found = administrator.find(title)
        was_running = await administrator.stop(reactor, found, force=force, timeout=timeout)
        output.record("stopped", ae_title=found, was_running=was_running)
        output.say(f"{found} is stopped" if was_running else f"{found} does not run")
        return 0

    return with_servers(base, work)


@click.command(short_help="Stop a server and start it again.")
@_TITLE
@_FORCE
@_READY
@of_a_base
@json_option
def restart(title: str | None, force: bool, timeout: float, base: str | None, as_json: bool) -> int:
    """Stop the server AE if it runs, as `stop` does, and start it, as `start` does.

    \b
    Example:
      txdicom server restart ARCHIVE

    Its settings are checked before: with mistakes in them it is not stopped. What a command line set for one run
    (--listen, --set of twistd) is over then. --json prints one object: type "started", as `start` does.
    """

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        from txdicom.errors import DicomError

        output = Output(as_json=as_json)
        found = administrator.find(title)
        try:
            administrator.check(found)
            await administrator.stop(reactor, found, force=force)
        except DicomError as error:
            return await _failed(reactor, administrator, found, error, output)
        return await _start(reactor, administrator, found, timeout, output)

    return with_servers(base, work)


def _ask(name: str, method: str, said: str, title: str | None, base: str | None, as_json: bool) -> int:
    """What `pause` and `resume` have in common."""

    async def work(reactor: Any, administrator: ServiceAdministrator) -> int:
        output = Output(as_json=as_json)
        found = administrator.find(title)
        async with administrator.session(reactor, found) as link:
            await getattr(link, method)()
        output.record(name, ae_title=found)
        output.say(said.format(found))
        return 0

    return with_servers(base, work)


@click.command(short_help="Have new associations rejected until `resume`.")
@_TITLE
@of_a_base
@json_option
def pause(title: str | None, base: str | None, as_json: bool) -> int:
    """Have the server AE reject new associations, as one that is busy for a time (2,3,1); those there are go on.

    \b
    Example:
      txdicom server pause ARCHIVE

    --json prints one object: type "paused", ae_title.
    """
    said = "{0} takes no new associations; go on: txdicom server resume {0}"
    return _ask("paused", "pause", said, title, base, as_json)


@click.command(short_help="Have associations accepted again after `pause`.")
@_TITLE
@of_a_base
@json_option
def resume(title: str | None, base: str | None, as_json: bool) -> int:
    """Have the server AE accept associations again.

    \b
    Example:
      txdicom server resume ARCHIVE

    --json prints one object: type "resumed", ae_title.
    """
    return _ask("resumed", "resume", "{0} takes associations again", title, base, as_json)


async def _start(reactor: Any, administrator: ServiceAdministrator, title: str, timeout: float, output: Output) -> int:
    from txdicom.errors import DicomError
    from txdicom.server.managing.manager import AlreadyRuns

    try:
        found = await administrator.start(reactor, title, timeout=timeout)
        output.say(f"{title} is ready: {', '.join(found.ports) or 'it listens nowhere'} (process {found.process})")
    except AlreadyRuns as error:
        found = await administrator.look(reactor, title)
        output.say(str(error))
    except DicomError as error:
        return await _failed(reactor, administrator, title, error, output)
    return _report(output, found, () if found.running else found.problems)


async def _failed(
    reactor: Any, administrator: ServiceAdministrator, title: str, error: DicomError, output: Output
) -> int:
    problems = getattr(error, "problems", None) or [str(error)]
    return _report(output, await administrator.look(reactor, title), problems)


def _report(output: Output, found: FoundServer, problems: Sequence[str]) -> int:
    output.record(
        "started",
        ae_title=found.ae_title,
        success=not problems,
        state=found.state,
        process=found.process,
        ports=list(found.ports),
        errors=list(problems),
    )
    for problem in problems:
        output.complain(f"Error: {found.ae_title}: {problem}")
    return 1 if problems else 0
