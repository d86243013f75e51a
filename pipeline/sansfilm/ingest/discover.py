"""Sources (folders, files, fsspec URLs) -> a sorted list of files; no byte of them is read."""

import os
from collections.abc import Iterable, Iterator

from sansfilm.errors import OptionError, Problem, ProblemCode, SourceNotFoundError
from sansfilm.ingest.source import local_uri
from sansfilm.model import FileRef


def discover(sources: Iterable[str]) -> tuple[list[FileRef], list[Problem]]:
    """List every file of the sources, each once, sorted by URI.

    Parameters
    ----------
    sources : iterable of str
        Folders and single files of this machine, or URLs that fsspec opens.

    Returns
    -------
    files : list of FileRef
    problems : list of Problem
        One EMPTY_SOURCE for each source that holds no file.

    Raises
    ------
    SourceNotFoundError
        If a source does not exist or cannot be listed at all.
    OptionError
        If no source is given.
    """
    files: dict[str, FileRef] = {}
    problems = []
    named = list(sources)
    if not named:
        raise OptionError("no source given: name at least one folder, file or URL")
    for source in named:
        found = {file.uri: file for file in _list(source)}
        if not found:
            problems.append(
                Problem(source, "discover", ProblemCode.EMPTY_SOURCE, "no file in this source")
            )
        files.update(found)
    return [files[uri] for uri in sorted(files)], problems


def _list(source: str) -> Iterator[FileRef]:
    if "://" in source or "::" in source:
        return _list_url(source)
    path = os.path.abspath(source)  # noqa: PTH100 - Path.resolve would follow links
    if os.path.isdir(path):  # noqa: PTH112 - bytes-safe os functions, as below
        return _list_folder(path)
    if not os.path.exists(path):  # noqa: PTH110
        raise SourceNotFoundError(f"source does not exist: {source}")
    return iter([_local(path, os.stat(path))])  # noqa: PTH116


def _local(path: str, stat: os.stat_result) -> FileRef:
    return FileRef(local_uri(path), stat.st_size, stat.st_mtime_ns)


def _list_folder(path: str) -> Iterator[FileRef]:
    """Walk a folder; linked files are read, linked folders are not followed (no cycles)."""
    folders = [path]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as exc:
            if folder == path:
                message = f"source cannot be listed: {path}: {exc.strerror}"
                raise SourceNotFoundError(message) from exc
            yield FileRef(local_uri(folder), -1)  # reported as UNREADABLE by the next stage
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                continue
            try:
                if entry.is_file():
                    yield _local(entry.path, entry.stat())
                elif entry.is_symlink() and not entry.is_dir():
                    yield FileRef(local_uri(entry.path), -1)
            except OSError:
                yield FileRef(local_uri(entry.path), -1)


def _list_url(url: str) -> Iterator[FileRef]:
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
        found = fs.find(path, detail=True)
        if not found and not fs.exists(path):
            raise SourceNotFoundError(f"source does not exist: {url}")
    except (OSError, ValueError, ImportError) as exc:
        if isinstance(exc, SourceNotFoundError):
            raise
        raise SourceNotFoundError(f"source cannot be listed: {url}: {exc}") from exc
    for name, info in found.items():
        yield FileRef(fs.unstrip_protocol(name), int(info.get("size") or 0))
