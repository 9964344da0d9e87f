"""The folders that settings name: what follows from others, and whether they can be used."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from txdicom.server.settings.tables import Settings


def with_folders(settings: Settings, folder: str) -> Settings:
    """With the folders that follow from others; relative ones are meant from the server's."""
    store = os.path.join(folder, settings.archive.store or "store")
    staging = os.path.join(folder, settings.server.temporary_directory or os.path.join(store, ".incoming"))
    return replace(
        settings,
        server=replace(settings.server, temporary_directory=staging),
        archive=settings.archive.model_copy(update={"store": store}),
    )


def folder_problems(settings: Settings, folder: str) -> list[str]:
    """What is wrong with the folders that are set; those that follow from the server's own come with it."""
    resolved = with_folders(settings, folder)
    store, staging = resolved.archive.store, resolved.server.temporary_directory
    problems = [
        f"{settings.place(*name)}: {problem}"
        for name, path in ((("archive", "store"), store), (("server", "temporary_directory"), staging))
        if name in settings.places and (problem := _unusable(path))
    ]
    if not problems and _device(store) != _device(staging):
        place = settings.place("server", "temporary_directory")
        problems.append(f"{place}: {staging} is not on the file system of the store {store}; leave it empty")
    return problems


def _unusable(path: str) -> str:
    """Why a folder can be neither used nor made; empty where it can."""
    nearest = _nearest(path)
    if not os.path.isdir(nearest):
        return f"{nearest} is not a folder"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"you may not write to {nearest}"
    return ""


def _device(path: str) -> int:
    """The file system on which a folder is or would be."""
    nearest = _nearest(path)
    while not os.path.exists(nearest):  # a link to nothing, of which its user is told when it is made
        nearest = os.path.dirname(nearest)
    return os.stat(nearest).st_dev


def _nearest(path: str) -> str:
    """`path`, or what there is of the way to it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
