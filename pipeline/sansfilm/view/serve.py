"""Serves the levels of volumes as Zarr to viewers in a browser of this machine, and nothing else.

On the loopback, read-only, below a token that cannot be guessed, for pages of one origin. Headers
and frame tables are not served: whoever sees the pictures does not see whose they are.
"""

import functools
import json
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from sansfilm.errors import SansfilmError

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


class Server(ThreadingHTTPServer):
    """The server of this process; runs until the process ends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._volumes: dict[str, tuple[Volume, str]] = {}
        threading.Thread(target=self.serve_forever, name="sansfilm-serve", daemon=True).start()

    def publish(self, volume: "Volume", origin: str) -> str:
        """Serve a volume to pages of an origin; return its URL, which ends in its token."""
        token = secrets.token_urlsafe(16)
        self._volumes[token] = volume, origin
        return f"http://127.0.0.1:{self.server_port}/{token}"

    def withdraw(self, url: str) -> None:
        """Serve a volume no longer."""
        self._volumes.pop(url.rpartition("/")[2], None)

    def find(self, path: str) -> "tuple[Volume, str, str] | None":
        """Return the volume of a path, the origin that may read it, and the object's name."""
        token, _, name = path.lstrip("/").partition("/")
        found = self._volumes.get(token)
        return None if found is None else (*found, name)


@functools.cache
def server() -> Server:
    """Return the one server of this process, started when it is first asked for."""
    return Server()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with an object, or the part of it that is asked for."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with the size of an object."""
        self._answer(body=False)

    def do_OPTIONS(self) -> None:
        """Answer what a browser asks before it sends a Range."""
        found = self.server.find(self.path)
        self._begin(204 if found else 404, found[1] if found else "", b"")

    def _answer(self, *, body: bool) -> None:
        found = self.server.find(self.path)
        if found is None:
            self._begin(404, "", b"")
            return
        volume, origin, name = found
        try:
            status, data, total, more = _part(volume, name, self.headers.get("Range"))
        except FileNotFoundError:
            self._begin(404, origin, b"")
        except (SansfilmError, OSError):
            self._begin(500, origin, b"")  # a lost chunk is damage: no viewer takes it for air
        else:
            self._begin(status, origin, data if body else b"", total, more)

    def _begin(self, status: int, origin: str, data: bytes, total: int = 0, more: str = "") -> None:
        self.send_response(status)
        if origin:
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Access-Control-Allow-Headers", "Range")
            self.send_header("Access-Control-Expose-Headers", "Content-Range, Content-Length")
        if more:
            self.send_header("Content-Range", more)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(data) or total))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing: it is not the user's program that is served."""


def _part(volume: "Volume", name: str, wanted: str | None) -> tuple[int, bytes, int, str]:
    """Return status, bytes, their number, and Content-Range of an object or a part of it.

    Raises
    ------
    FileNotFoundError
        If it is not served, or not there.
    """
    if name == "zarr.json":  # what OME-Zarr says, without what we know besides
        scales = [{**scale, "name": "volume"} for scale in volume.ome["multiscales"]]  # no UID
        ome = {**volume.ome, "multiscales": scales}
        about = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
        data = json.dumps(about).encode()
        return 200, data, len(data), ""
    size = volume.level_sizes.get(name)
    if size is None:
        raise FileNotFoundError(name)
    match = _RANGE.match(wanted or "")
    if match is None or match.groups() == ("", ""):
        return 200, volume.read_part(name, 0, size), size, ""
    first, last = match.groups()
    begin = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1 if first and last else size, size)
    if begin >= end:
        return 416, b"", 0, f"bytes */{size}"
    data = volume.read_part(name, begin, end - begin)
    return 206, data, len(data), f"bytes {begin}-{end - 1}/{size}"
