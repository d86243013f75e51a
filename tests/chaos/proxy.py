"""An HTTP proxy in front of one server that injects faults, and counts what goes through it.

Plain sockets and threads; one connection to the server for each of the client's. What happens to
the n-th request is decided by the seed and n alone.
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Self
from urllib.parse import urlsplit

KINDS = ("500", "503", "reset", "torn", "lost", "late500", "cut", "cutreset", "stall")
"""What can happen to a request:

500, 503   an error in the server's place, which never sees the request
reset      the connection is reset before the server sees it
torn       the server gets half of the request's body, then both connections end
lost       the server does what is asked, its answer is lost: a reset
late500    the same, and the answer says 500
cut        the answer ends after half of its body, in order; cutreset with a reset
stall      no answer for longer than the client waits

and, if asked for, expired: an answer 403 that says that the credentials are too old.
"""
_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>injected</Message></Error>"
_CODES = {"500": "InternalError", "late500": "InternalError", "503": "SlowDown",
          "expired": "ExpiredToken"}  # fmt: skip


@dataclass(slots=True)
class Message:
    """A request or an answer: its first line, its headers as they are, its body as it travels."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def raw(self, body: bytes | None = None) -> bytes:
        head = "".join(f"{key}: {value}\r\n" for key, value in self.headers)
        return f"{self.line}\r\n{head}\r\n".encode("latin-1") + (
            self.body if body is None else body
        )


@dataclass(slots=True)
class Counts:
    """What went through: faults by kind, requests, and (key, bytes) of each PUT that was done."""

    injected: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    puts: list[tuple[str, int]] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return self.injected.total()


class Proxy:
    """A context manager that listens on the loopback interface.

    Parameters
    ----------
    server : str
        Address of the server, ``http://host:port``.
    rate : float
        Share of the requests that something happens to; may be changed at any time.
    stall_s : float
        How long a stalled request is held.
    """

    def __init__(
        self, server: str, *, seed: int = 0, rate: float = 0.0, stall_s: float = 6.0,
        kinds: tuple[str, ...] = KINDS, limit: int | None = None,
    ) -> None:  # fmt: skip
        there = urlsplit(server)
        self._server = (there.hostname, there.port)
        self._seed, self._kinds, self._limit, self._stall_s = seed, kinds, limit, stall_s
        self.rate = rate
        self.counts = Counts()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._ending = threading.Event()
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self._shut()

    def _shut(self) -> None:
        # a thread that waits in accept() keeps a socket open that is only closed
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _reset(connection)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it

    def outage(self, seconds: float) -> None:
        """Reset every connection and refuse new ones for a while."""
        self.counts.injected["outage"] += 1
        self._shut()
        time.sleep(seconds)
        self._listen(self.port)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream, reader = Upstream(self._server), client.makefile("rb")
        try:
            while request := read_request(reader, client):
                if not self._pass(client, upstream, request, self._next()):
                    return
        except (OSError, EOFError, ValueError):  # either side has gone
            return
        finally:
            with self._lock:
                self._open.discard(client)
            reader.close()
            client.close()
            upstream.close()

    def _next(self) -> str | None:
        """Return what happens to the next request."""
        with self._lock:
            self.counts.requests += 1
            chance = random.Random(f"{self._seed} {self.counts.requests}")
            if self._limit is not None and self.counts.faults >= self._limit:
                return None
            if chance.random() >= self.rate:
                return None
            kind = chance.choice(self._kinds)
            self.counts.injected[kind] += 1
            return kind

    def _pass(
        self, client: socket.socket, upstream: "Upstream", request: Message, kind: str | None
    ) -> bool:
        """Deal with one request; tell whether the connection goes on."""
        if kind in ("500", "503", "expired"):
            client.sendall(_error(kind, request))
            return True
        if kind == "stall":
            self._ending.wait(self._stall_s)
        if kind in ("reset", "stall"):
            _reset(client)
            return False
        if kind == "torn":
            upstream.send(request.raw(request.body[: len(request.body) // 2]))
            upstream.close()
            _reset(client)
            return False
        answer = upstream.ask(request)
        if request.line.startswith("PUT ") and answer.line.split()[1] == "200":
            with self._lock:
                self.counts.puts.append((request.line.split()[1], len(request.body)))
        if kind == "late500":
            client.sendall(_error(kind, request))
            return True
        if kind in ("cut", "cutreset") and len(answer.body) > 1:
            client.sendall(answer.raw(answer.body[: len(answer.body) // 2]))
            if kind == "cutreset":
                _reset(client)
            return False
        if kind in ("lost", "cut", "cutreset"):  # there is no body to cut: the whole answer goes
            _reset(client)
            return False
        client.sendall(answer.raw())
        return answer.header("connection").lower() != "close"


class Upstream:
    """The connection to the server; opened again where the server has closed it meanwhile."""

    def __init__(self, address: tuple[str | None, int | None]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=120)  # type: ignore[arg-type]
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._reader = self._socket.makefile("rb")
        self._socket.sendall(data)

    def ask(self, request: Message) -> Message:
        for again in (True, False):
            fresh = self._socket is None
            try:
                self.send(request.raw())
                return read_answer(self._reader, request.line.split()[0])
            except (OSError, EOFError):
                self.close()
                if fresh or not again:
                    raise
        raise AssertionError

    def close(self) -> None:
        if self._socket is not None:
            self._reader.close()
            self._socket.close()
            self._socket = None


def read_request(reader: IO[bytes], client: socket.socket) -> Message | None:
    """Read a request with its body; None at the end of the connection."""
    message = _head(reader)
    if message is None:
        return None
    if message.header("expect").lower() == "100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        message.headers = [pair for pair in message.headers if pair[0].lower() != "expect"]
    message.body = _body(reader, message)
    return message


def read_answer(reader: IO[bytes], method: str) -> Message:
    """Read an answer with its body."""
    while True:
        message = _head(reader)
        if message is None:
            raise EOFError
        status = int(message.line.split()[1])
        if status >= 200:
            break
    if method != "HEAD" and status not in (204, 304):
        message.body = _body(reader, message)
    return message


def _head(reader: IO[bytes]) -> Message | None:
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    if not line:
        return None
    pairs = [text.partition(":") for text in lines[1:]]
    return Message(lines[0], [(key, value.strip()) for key, _, value in pairs])


def _body(reader: IO[bytes], message: Message) -> bytes:
    if message.header("transfer-encoding").lower() == "chunked":
        parts = []
        while True:
            size = reader.readline()
            data = _exactly(reader, int(size.split(b";")[0], 16) + 2)
            parts += [size, data]
            if data == b"\r\n":
                return b"".join(parts)
    return _exactly(reader, int(message.header("content-length") or 0))


def _exactly(reader: IO[bytes], count: int) -> bytes:
    data = reader.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _error(kind: str, request: Message) -> bytes:
    status = {"503": "503 Slow Down", "expired": "403 Forbidden"}.get(kind, "500 Internal Error")
    body = _ERROR.format(_CODES[kind]).encode()
    head = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    return Message(f"HTTP/1.1 {status}", head).raw(
        b"" if request.line.startswith("HEAD ") else body
    )


def _reset(connection: socket.socket) -> None:
    """Let the other side see a reset, not an end, when a connection is closed."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
