"""A cluster of two nodes over TLS, each part with a certificate of its own; a node goes and comes.

Where namespaces of networks can be made (as root on Linux) the nodes are in such, and one is cut
off by taking its link down: its processes live on and know of nothing. Everywhere, as processes of
one machine, one node is killed and started again.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import harness
import pki
import pytest
import s3_server
import synth

import sansfilm

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

NETWORK = harness.number("TWO_NODES", 0)
AGAIN = ("sh", "-c", 'while kill -0 "$0"; do "$@"; sleep 1; done', str(os.getpid()))
"""A worker that has lost its scheduler ends: something has to start it again, as systemd does, here
as long as this process lives."""
SLOW_S = 0.3
NOTICED_S = 12
"""Seconds after which Dask gives up a connection without answers, in place of 30."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    ours = pki.authority(folder / "authority")
    return {name: pki.certificate(ours, folder / name) for name in ("s", "a", "b", "driver")}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give a folder of series, and the archive of a quiet run."""
    folder = tmp_path_factory.mktemp("in")
    for seed in range(160 if NETWORK else 24):
        synth.series(folder / f"s{seed}", slices=3, rows=64, columns=64, seed=seed)
    quiet = tmp_path_factory.mktemp("quiet") / "a"
    sansfilm.ingest(folder, quiet)
    return folder, quiet


class Cluster:
    """A scheduler and workers as processes of their own; `inside` names the namespace of each."""

    def __init__(self, folder, certificates, inside, host, port):
        self.folder, self.inside = folder, inside
        self.certificates, self.address = certificates, f"tls://{host['s']}:{port}"
        self.host, self.running, self.drivers = host, {}, []
        self.scheduler(port)

    def command(self, name, *arguments, log=subprocess.PIPE, again=()):
        notes = {"SANSFILM_TEST_NOTES": str(self.folder / name),
                 "SANSFILM_TEST_SLOW_S": str(SLOW_S)}  # fmt: skip
        quick = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{NOTICED_S}s"}
        path = os.pathsep.join(path for path in sys.path if path)
        words = [*again, *self.inside.get(name, ()), sys.executable, "-m", *arguments]
        return subprocess.Popen(
            words, stdout=log, stderr=log, text=True, start_new_session=True,
            env=os.environ | quick | notes | {"PYTHONPATH": path},
        )  # fmt: skip

    def start(self, name, what, *arguments, again=()):
        folder = self.certificates[name]
        tls = (f"--tls-{short}={folder / file}" for short, file in
               (("ca-file", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")))  # fmt: skip
        log = (self.folder / f"{name}.log").open("ab")
        process = self.command(name, "distributed.cli.dask_" + what, *tls, "--host",
                               self.host[name], *arguments, log=log, again=again)  # fmt: skip
        self.running[name] = process, log

    def scheduler(self, port):
        # It ends with its workers, also where nobody is left who ends them.
        self.start("s", "scheduler", "--port", str(port), "--no-dashboard", "--idle-timeout", "60s")

    def worker(self, name):
        self.start(name, "worker", self.address, "--nthreads", "1", "--no-dashboard",
                   "--preload", "slow_node", again=AGAIN)  # fmt: skip

    def ingest(self, source, url):
        driver = self.command("driver", "sansfilm", "ingest", str(source), str(url), "--json",
                              "--scheduler", self.address, "--tls",
                              str(self.certificates["driver"]))  # fmt: skip
        self.drivers.append(driver)
        return driver

    def kill(self, name):
        process, log = self.running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        log.close()

    def done(self, name):
        """Return when slabs were written on a node."""
        notes = self.folder / name
        return [float(line) for line in notes.read_text().split()] if notes.exists() else []

    def joined(self, name):
        """Return how often the worker of a node has been let in by the scheduler."""
        return (self.folder / f"{name}.log").read_text().count("Registered to:")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for name in list(self.running):
            self.kill(name)
        for driver in self.drivers:
            driver.kill()
            driver.communicate()


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def check(cluster, made, url, tree, leave, come):
    """Ingest; let node b leave when it has worked, and come back while there is work left."""
    folder, quiet = made
    driver = cluster.ingest(folder, url)
    until(lambda: cluster.done("a") and cluster.done("b"))
    leave()
    left, alone = time.time(), len(cluster.done("a"))
    until(lambda: len(cluster.done("a")) >= alone + 3)
    hold = cluster.folder / "hold"
    hold.touch()  # or the work might be done before the node is back, on a busy machine
    before = cluster.joined("b")
    come()
    until(lambda: cluster.joined("b") > before)
    back = time.time()
    hold.unlink()
    report = harness.told(driver)
    assert report["problems"] == []
    assert tree(url) == tree(quiet)
    assert any(at > back for at in cluster.done("b")), "node b worked again"
    return back - left


def test_a_node_that_is_killed_and_started_again(certificates, made, tmp_path, tree):
    with Cluster(tmp_path, certificates, {}, dict.fromkeys("sab", "127.0.0.1"),
                 s3_server.free_port()) as cluster:  # fmt: skip
        for name in "ab":
            cluster.worker(name)

        out, leave, come = tmp_path / "out", cluster.kill, cluster.worker
        check(cluster, made, out, tree, lambda: leave("b"), lambda: come("b"))


def test_a_scheduler_that_is_killed(certificates, made, tmp_path, tree):
    folder, quiet = made
    with Cluster(tmp_path, certificates, {}, dict.fromkeys("sab", "127.0.0.1"),
                 s3_server.free_port()) as cluster:  # fmt: skip
        cluster.worker("a")
        driver = cluster.ingest(folder, tmp_path / "out")
        until(lambda: cluster.done("a"))
        cluster.kill("s")
        _, told = driver.communicate(timeout=30)
        assert driver.returncode == 4, told
        assert "the Dask scheduler is gone: run the same command again" in told
        cluster.scheduler(cluster.address.rpartition(":")[2])
        report = harness.told(cluster.ingest(folder, tmp_path / "out"))
    assert report["problems"] == []
    assert tree(tmp_path / "out") == tree(quiet)


@pytest.fixture
def namespaces():
    """Give three networks, of a scheduler and two workers, that know each other only."""
    if not NETWORK:
        pytest.skip("namespaces of networks: make test-chaos")
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("namespaces of networks need root and iproute2")
    names = {name: f"sf{os.getpid()}{name}" for name in "sab"}

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True)

    try:
        for name in names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names["s"], "link", "add", "bridge", "type", "bridge")
        ip("-n", names["s"], "addr", "add", "10.77.0.1/24", "dev", "bridge")
        ip("-n", names["s"], "link", "set", "bridge", "up")
        for number, name in enumerate("ab", 2):
            ip("-n", names["s"], "link", "add", f"to-{name}", "type", "veth",
               "peer", "name", "eth", "netns", names[name])  # fmt: skip
            ip("-n", names["s"], "link", "set", f"to-{name}", "master", "bridge", "up")
            ip("-n", names[name], "addr", "add", f"10.77.0.{number}/24", "dev", "eth")
            ip("-n", names[name], "link", "set", "eth", "up")
        yield names, ip
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False)


def test_a_node_that_is_cut_off_by_the_network(
    certificates, made, tmp_path, tree, namespaces, record
):
    names, ip = namespaces
    inside = {name: ("ip", "netns", "exec", names[name]) for name in "sab"}
    inside["driver"] = inside["s"]
    host = {"s": "10.77.0.1", "a": "10.77.0.2", "b": "10.77.0.3"}
    with Cluster(tmp_path, certificates, inside, host, 8786) as cluster:
        for name in "ab":
            cluster.worker(name)

        def come():
            time.sleep(NOTICED_S + 3)
            ip("-n", names["s"], "link", "set", "to-b", "up")

        def leave():
            ip("-n", names["s"], "link", "set", "to-b", "down")

        away = check(cluster, made, tmp_path / "out", tree, leave, come)
        done = {name: len(cluster.done(name)) for name in "ab"}
    record("two nodes over TLS, one cut off", f"{away:.0f} s; slabs by node {done}, of 160")
