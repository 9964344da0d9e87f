"""The `[archive]` table of a server's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ArchiveSettings(BaseModel):
    """How received instances are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(
        default="",
        description="Folder of the stored instances; empty: the folder `store` in the server's own.",
    )
    flush: bool = Field(
        default=True,
        description=(
            "Answer Success only after the disk has the instance. Without, a power cut can lose instances that were "
            "answered Success."
        ),
    )
    duplicates: Literal["keep", "replace", "refuse"] = Field(
        default="keep",
        description=(
            "What becomes of a different instance with the SOP Instance UID of a stored one: `keep` files it beside "
            "the first, which stays what is retrieved, and lists it in `duplicates.jsonl`; `replace` puts it in the "
            "place of the first; `refuse` answers 0x0111. The same bytes again are always answered Success."
        ),
    )
