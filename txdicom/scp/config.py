"""What a listening application entity can be set to: the network's settings and the rules about who is let in."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le

from txdicom.errors import SettingsError
from txdicom.net.config import NetConfig, Seconds, setting

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class ScpConfig(NetConfig):
    """Settings of a listening application entity."""

    check_called_ae: bool = setting(True, "reject associations to another AE title than ours")
    allow_anonymous: bool = setting(True, "let callers in that are not in the AE table")
    reject_no_context: bool = setting(
        False,
        "reject an association of which no presentation context can be accepted, instead of accepting it without any",
    )
    unknown_sop_classes: bool = setting(
        True, "accept storage of private SOP classes and of those newer than this version"
    )
    copy_pixel_data_to_observers: bool = setting(
        False, "show pixel data to add-ins that look on at messages; data sets of up to 64 MiB are then kept in memory"
    )
    temporary_directory: str = setting(
        "", "where large data sets are received; on the store's file system; swept at start"
    )
    addin_threads: Annotated[int, Ge(1), Le(256)] = setting(
        8,
        "threads at most for add-ins whose handlers block; half are set aside in equal parts for each of these add-ins",
    )
    allow_anonymous_move: bool = setting(
        False,
        "let a caller that is not in the AE table be its own Move Destination: it is called at the address it calls "
        "from, and no other",
    )
    anonymous_move_port: Annotated[int, Ge(1), Le(65_535)] = setting(
        104, "where such a caller listens (allow_anonymous_move)"
    )
    watch_reactor: Seconds = setting(
        1.0, "an add-in that holds the reactor for this many seconds is logged with where it is; 0: never"
    )


def validated(config: type[ScpConfig], settings: Mapping[str, Any]) -> ScpConfig:
    """`settings` as a `config`; SettingsError lists every mistake."""
    from pydantic import TypeAdapter, ValidationError

    names = {field.name for field in fields(config)}
    problems = [unknown_setting(name, names) for name in settings if name not in names]
    known = {name: value for name, value in settings.items() if name in names}
    try:
        result = TypeAdapter(config).validate_python(known)
    except ValidationError as error:
        problems += [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return result


def unknown_setting(name: str, names: set[str]) -> str:
    """A sentence on a setting that does not exist, with what may have been meant."""
    close = difflib.get_close_matches(name, names, 1)
    return f"{name}: there is no such setting" + (f"; did you mean {close[0]}?" if close else "")
