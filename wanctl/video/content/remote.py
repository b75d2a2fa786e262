"""Lists the files of a folder behind a URL, and the folders that could not be listed."""

from collections.abc import Mapping
from typing import Any

RemoteFailure = tuple[str, OSError]
"""A folder, by its path in its file system, and why it cannot be listed."""


def find_remote(
    fs: Any, root: str, failures: list[RemoteFailure]
) -> Mapping[str, Mapping[str, Any]]:
    """Every file below `root`; folders that cannot be listed are noted in `failures`.

    fsspec's own walk leaves those out in silence, a server that is down included. Object stores
    list without a walk, and raise.
    """
    if not _walks(fs):
        return fs.find(root, detail=True)
    found: dict[str, Mapping[str, Any]] = {}
    folders, seen = [root], {root.rstrip("/")}
    while folders:
        folder = folders.pop()
        try:
            listed = fs.ls(folder, detail=True)
        except OSError as error:
            failures.append((folder, error))
            continue
        for info in listed:
            name = info["name"]
            if info["type"] != "directory":
                found[name] = info
            elif name.rstrip("/") not in seen:
                seen.add(name.rstrip("/"))
                folders.append(name)
    return found if found or failures or not fs.isfile(root) else {root: fs.info(root)}


def _walks(fs: Any) -> bool:
    from fsspec import AbstractFileSystem  # noqa: PLC0415  0.2 s that footage on disks does without
    from fsspec.asyn import AsyncFileSystem  # noqa: PLC0415  as above

    if isinstance(fs, AsyncFileSystem):
        return type(fs)._find is AsyncFileSystem._find
    return type(fs).find is AbstractFileSystem.find
