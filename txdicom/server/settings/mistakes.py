"""What pydantic finds wrong with a setting, as sentences: one for who has written it, one for the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails


class Mistake(str):
    """A sentence that may repeat the value; `without_value` is for the log, where a value may be one too many."""

    __slots__ = ("without_value",)

    without_value: str


def mistake(place: str, error: ErrorDetails, *, doc: str = "", secret: bool = False) -> Mistake:
    """What is wrong at `place`; `doc` is what the setting is for. The value of a secret one is never repeated."""
    value, kind = error["input"], error["type"]
    message = plain = error["msg"].removeprefix("Value error, ")
    if kind == "missing":
        message = plain = "it has to be given"
    elif kind == "predicate_failed":
        message, plain = f"{value!r} cannot be: {doc}", f"it cannot be so: {doc}"
    elif kind == "value_error":
        if any(text in message for text in _texts(value)):
            plain = "it cannot be so"
    else:
        plain = f"{message[0].lower()}{message[1:]}"
        message = f"{plain}, not {value!r}"
    made = Mistake(f"{place}: {plain if secret else message}")
    made.without_value = f"{place}: {plain}"
    return made


def for_log(problems: Iterable[str]) -> list[str]:
    """The sentences without the values of settings."""
    return [one.without_value if isinstance(one, Mistake) else one for one in problems]


def is_secret(model: type[BaseModel], name: str) -> bool:
    """Whether a setting, by its name or alias, is or holds a SecretStr or SecretBytes."""
    return any(
        _has_secret(info.annotation, ()) for key, info in model.model_fields.items() if name in (key, info.alias)
    )


def _has_secret(annotation: Any, around: tuple[Any, ...]) -> bool:
    if isinstance(annotation, type):
        if issubclass(annotation, SecretStr | SecretBytes):
            return True
        if issubclass(annotation, BaseModel) and annotation not in around:
            inner = (info.annotation for info in annotation.model_fields.values())
            return any(_has_secret(one, (*around, annotation)) for one in inner)
    return any(_has_secret(one, around) for one in get_args(annotation))


def _texts(value: Any) -> Iterator[str]:
    """Everything that is said in a value."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif value not in ("", None):
        yield str(value)
