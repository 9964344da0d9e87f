"""Sentences on settings, with the value and without."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretBytes, SecretStr, ValidationError, field_validator

from txdicom.server.settings.mistakes import Mistake, for_log, is_secret, mistake


class Deep(BaseModel):
    key: SecretBytes = SecretBytes(b"")
    again: Deep | None = None


class Model(BaseModel):
    number: int = 0
    text: str = ""
    texts: list[str] = []
    open: SecretStr | None = Field(default=None, alias="password")
    deep: dict[str, list[Deep]] = {}
    plain: list[int] = []

    @field_validator("text", "texts")
    @classmethod
    def no(cls, value: Any) -> Any:
        raise ValueError(f"{value[0]} is wrong" if value != "quiet" else "it is wrong")


def found(**values: Any) -> Mistake:
    with pytest.raises(ValidationError) as raised:
        Model.model_validate(values)
    [error] = raised.value.errors(include_url=False)
    return mistake("here", error, secret=is_secret(Model, str(error["loc"][0])))


@pytest.mark.parametrize(
    ("values", "shown", "logged"),
    [
        ({"number": "x"}, ", not 'x'", "parse string as an integer"),
        ({"text": ["swordfish"]}, "here: input should be a valid string, not ['swordfish']", "be a valid string"),
        ({"texts": ["swordfish"]}, "here: swordfish is wrong", "here: it cannot be so"),
        ({"text": "quiet"}, "here: it is wrong", "here: it is wrong"),
        ({"password": 7}, "here: input should be a valid string", "here: input should be a valid string"),
        ({"deep": {"a": "swordfish"}}, "here: input should be a valid list", "here: input should be a valid list"),
    ],
)
def test_sentences(values: dict[str, Any], shown: str, logged: str) -> None:
    one = found(**values)
    assert one.endswith(shown)
    [line] = for_log([one])
    assert line.endswith(logged)
    assert "swordfish" not in line


def test_what_is_no_mistake_of_a_value_stays() -> None:
    assert for_log(["server.toml:3: there is no such table"]) == ["server.toml:3: there is no such table"]


def test_what_is_secret() -> None:
    names = {"open", "password", "deep"}
    assert {name for name in (*Model.model_fields, "password", "none") if is_secret(Model, name)} == names
