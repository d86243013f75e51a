"""Sources (folders, files, zip and tar files, fsspec URLs) -> a sorted listing.

No byte of them is read but the directories of zip and tar files.
"""

import os
from collections.abc import Iterable, Iterator
from urllib.parse import quote_from_bytes

from sansfilm.errors import (
    BadInstanceError,
    OptionError,
    Problem,
    ProblemCode,
    SourceNotFoundError,
)
from sansfilm.model import FileRef
from sansfilm.options import Budgets
from sansfilm.planning import packed
from sansfilm.planning.listing import Listing
from sansfilm.planning.source import Source, local_path, local_uri, remote_errors
from sansfilm.remote import open_url, version_of


def discover(
    sources: Iterable[str], archive: str = "", budgets: Budgets | None = None
) -> tuple[Listing, list[Problem]]:
    """List every file of the sources, each once, sorted by URI.

    Linked files are listed, linked folders are not followed: they become problems. Of files whose
    name ends in .zip or .tar the members are listed.

    Parameters
    ----------
    sources : iterable of str
        Folders and single files of this machine, or URLs that fsspec opens.
    archive : str, optional
        URL of the archive that is filled: files below it are no sources.
    budgets : Budgets, optional
        What zip and tar files may hold.

    Returns
    -------
    files : Listing
    problems : list of Problem
        EMPTY_SOURCE for each source that holds no file, UNREADABLE for what cannot be listed,
        BUDGET or UNSAFE_ARCHIVE for zip and tar files, or members of them.

    Raises
    ------
    SourceNotFoundError
        If a source does not exist or cannot be listed at all.
    OptionError
        If no source is given.
    """
    files = Listing()
    problems: dict[str, Problem] = {}
    known: _Known = {}
    named = list(sources)
    if not named:
        raise OptionError("no source given: name at least one folder, file or URL")
    excluded = f"{_canonical(archive)}/" if archive else None
    for source in named:
        empty = True
        for item in _list(source, budgets or Budgets(), known):
            if excluded and item.uri.startswith(excluded):
                continue
            empty = False
            if isinstance(item, FileRef):
                files.add(item)
            else:
                problems[item.uri] = item
        if empty:
            problems[source] = Problem(
                source, "discover", ProblemCode.EMPTY_SOURCE, "no file in this source"
            )
    return files, [problems[uri] for uri in sorted(problems)]


_Known = dict[str, tuple[list[packed.Member | packed.Refused], int | None]]
"""The directories that were read, by the URI of their container, and when that was changed."""


def _open(item: FileRef | Problem, budgets: Budgets, known: _Known) -> Iterator[FileRef | Problem]:
    """Put the members of a zip or tar file in its place, all or those that its URL asks for."""
    below = packed.split(item.uri)
    kind, name, uri = below or (packed.kind_by_name(item.uri), "", item.uri)
    if not kind or isinstance(item, Problem):
        yield item
        return
    try:
        if uri not in known:
            with Source(uri) as whole:
                if not below and not packed.is_one(whole, kind):
                    yield item
                    return
                known[uri] = packed.members(whole, kind, budgets), whole.modified_ns
    except BadInstanceError as exc:
        yield Problem(uri, "discover", exc.code, exc.message)
        return
    except OSError as exc:
        if below:
            raise SourceNotFoundError(f"source cannot be listed: {item.uri}: {exc}") from exc
        yield item  # what is wrong with it will show when it is read
        return
    found, modified_ns = known[uri]
    wanted = [one for one in found if f"{one.name}/".startswith(f"{name.strip('/')}/".lstrip("/"))]
    if name and not wanted:
        raise SourceNotFoundError(f"source does not exist: {item.uri}")
    for one in wanted:
        if isinstance(one, packed.Member):
            yield FileRef(f"{kind}://{one.name}::{uri}", one.size, modified_ns)
        else:
            printable = one.name if one.name.isprintable() else _quoted(one.name)
            yield Problem(f"{kind}://{printable}::{uri}", "discover", one.code, one.message)


def _quoted(name: str) -> str:
    return quote_from_bytes(name.encode("utf-8", "surrogateescape"))


def _list(source: str, budgets: Budgets, known: _Known) -> Iterator[FileRef | Problem]:
    for item in _named(source):
        yield from _open(item, budgets, known)


def _named(source: str) -> Iterator[FileRef | Problem]:
    if below := packed.split(source):
        kind, name, container = below
        path = local_path(container) or (None if "://" in container else container)
        uri = container if path is None else local_uri(os.path.abspath(path))  # noqa: PTH100
        return iter([FileRef(f"{kind}://{name}::{uri}", 0)])
    path = os.path.abspath(local_path(source) or source)  # noqa: PTH100 - keeps links
    if os.path.isdir(path):  # noqa: PTH112 - functions of os know any bytes, as below
        return _list_folder(path)
    if os.path.isfile(path):  # noqa: PTH113
        return iter([_local(path, os.stat(path))])  # noqa: PTH116
    if ("://" in source or "::" in source) and local_path(source) is None:
        return _list_url(source)
    raise SourceNotFoundError(f"source does not exist, or is no file or folder: {source}")


def _local(path: str, stat: os.stat_result) -> FileRef:
    return FileRef(local_uri(path), stat.st_size, stat.st_mtime_ns)


def _list_folder(path: str) -> Iterator[FileRef | Problem]:
    folders = [path]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if item := _entry(entry, folders):
                        yield item
        except OSError as exc:
            if folder == path:
                message = f"source cannot be listed: {path}: {exc.strerror}"
                raise SourceNotFoundError(message) from exc
            yield _unreadable(folder, exc.strerror or "cannot be listed")


def _entry(entry: os.DirEntry[str], folders: list[str]) -> FileRef | Problem | None:
    """Return what an entry of a folder is; a folder is added to `folders`."""
    try:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
        elif entry.is_file():
            return _local(entry.path, entry.stat())
        elif entry.is_symlink():
            linked = "folder is not followed: name it as a source" if entry.is_dir() else ""
            return _unreadable(entry.path, f"a linked {linked or 'file is not there'}")
    except OSError as exc:
        return _unreadable(entry.path, exc.strerror or "cannot be read")
    return None


def _unreadable(path: str, message: str) -> Problem:
    return Problem(local_uri(path), "discover", ProblemCode.UNREADABLE, message)


def _list_url(url: str) -> Iterator[FileRef | Problem]:
    before, after = _around(url)
    try:
        with remote_errors():
            fs, path = open_url(url)
            found = fs.find(path, detail=True)
            known = found or fs.exists(path)
    except OSError as exc:
        raise SourceNotFoundError(f"source cannot be listed: {url}: {exc}") from exc
    if not known:
        raise SourceNotFoundError(f"source does not exist: {url}")
    for name, info in found.items():
        uri = f"{before}{fs.unstrip_protocol(name)}{after}"
        yield FileRef(uri, int(info.get("size") or 0), version=version_of(info))


def _around(url: str) -> tuple[str, str]:
    """Return what a chained URL (zip://::s3://bucket/a.zip) has before and after its file names."""
    parts = url.split("::")
    inner = next((index for index, part in enumerate(parts) if "://" in part), 0)
    return (
        "".join(f"{part}::" for part in parts[:inner]),
        "".join(f"::{part}" for part in parts[inner + 1 :]),
    )


def _canonical(archive: str) -> str:
    """Return the archive's URL as the URIs of files below it would start."""
    path = local_path(archive) or (None if "://" in archive else os.path.abspath(archive))  # noqa: PTH100
    if path is not None:
        return local_uri(path).rstrip("/")
    with remote_errors():
        fs, path = open_url(archive)
        return str(fs.unstrip_protocol(path)).rstrip("/")
