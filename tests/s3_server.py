"""A real S3 server for tests: one monitor, one store and one gateway of Ceph, in a folder.

Debian has the programs: ``apt-get install --no-install-recommends radosgw ceph-mon ceph-osd``.
They listen on 127.0.0.1 only, run in the foreground as children of this process, and keep their
objects in memory: when the server stops nothing is left.
"""

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Self

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
KEY, SECRET = "testkey", "testsecret"
_REQUEST = re.compile(r'beast: \S+ \S+ - \S+ \[.*?\] "(\w+) (\S+) HTTP/1\.\d" (\d{3})')
_CONFIG = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
# Without signatures between the daemons the secure mode has no key to use.
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
ms bind ipv6 = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
# Else the store appears below two hosts.
osd crush update on start = false
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 5
run dir = {folder}/run
log file = {folder}/log/$name.log
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
[client.rgw.a]
# Without it each small answer waits 40 ms for an acknowledgement that the client delays.
rgw frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw data = {folder}/rgw
rgw dns name = localhost
"""


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Server:
    """A server that was started in an empty folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("mon", "osd", "run", "log", "rgw"):
            (folder / name).mkdir()
        gateway = free_port()
        self.endpoint = f"http://127.0.0.1:{gateway}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        fsid, mon = str(uuid.uuid4()), free_port()
        config = _CONFIG.format(fsid=fsid, mon=mon, gateway=gateway, folder=folder)
        (folder / "ceph.conf").write_text(config)
        address = f"[v2:127.0.0.1:{mon}]"
        monmap = str(folder / "monmap")
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monmap)
        try:
            self._start(mon=mon)
        except BaseException:
            self.stop()
            raise

    def _start(self, mon: int) -> None:
        folder = self._folder
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", str(folder / "monmap"))
        self._daemon("ceph-mon", "-i", "a")
        name = str(uuid.uuid4())
        self._run("ceph", "osd", "new", name, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", name)
        self._daemon("ceph-osd", "-i", "0")
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=localhost", "root=default")
        self._daemon("radosgw", "-n", "client.rgw.a")
        self._wait_for_gateway()
        self._run("radosgw-admin", "-n", "client.rgw.a", "user", "create", "--uid=test",
                  "--display-name=test", f"--access-key={KEY}", f"--secret={SECRET}")  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all daemons."""
        for daemon in reversed(self._daemons.values()):
            daemon.kill()  # what they hold is in memory: there is nothing to save
            daemon.wait()

    def stop_gateway(self) -> None:
        """Let the gateway vanish, as in an outage; the objects stay."""
        daemon = self._daemons.pop("radosgw")
        daemon.kill()
        daemon.wait()

    def start_gateway(self) -> None:
        """Bring it back."""
        self._daemon("radosgw", "-n", "client.rgw.a")
        self._wait_for_gateway()

    def requests(self) -> list[tuple[str, str, int]]:
        """Return (method, path with query, status) of all requests so far, in the order of ends."""
        with urllib.request.urlopen(self.endpoint):  # a mark, so that all before it are written
            pass
        log = self._folder / "log" / "client.rgw.a.log"
        for _ in range(50):
            found = _REQUEST.findall(log.read_text(errors="replace"))
            if found and found[-1][1] == "/":
                break
            time.sleep(0.1)
        return [(method, path, int(status)) for method, path, status in found if path != "/"]

    def _command(self, *arguments: str) -> list[str]:
        return [arguments[0], "-c", str(self._folder / "ceph.conf"), *arguments[1:]]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            self._command(*arguments), capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{arguments[0]} failed: {done.stderr[-2000:]}")

    def _daemon(self, *arguments: str) -> None:
        with (self._folder / "log" / f"{arguments[0]}.out").open("ab") as out:
            # They end with this process, however it ends.
            with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
            self._daemons[arguments[0]] = subprocess.Popen(
                [*with_us, *self._command(*arguments), "-f"], stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, env={**os.environ, "CEPH_ARGS": ""},
            )  # fmt: skip

    def _wait_for_gateway(self) -> None:
        for _ in range(300):
            if self._daemons["radosgw"].poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.endpoint, timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the gateway does not answer")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
