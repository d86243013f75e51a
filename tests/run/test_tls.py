"""Connections by TLS: who has a certificate of the authority is let in, nobody else."""

import shutil

import pki
import psutil
import pytest
from distributed import LocalCluster

from sansfilm.errors import OptionError, TargetError
from sansfilm.run import dask as dask_module
from sansfilm.run.dask import DaskRunner, certificates

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@pytest.fixture(scope="module")
def issued(tmp_path_factory):
    """Give folders of certificates: two that one authority knows, others that must not get in."""
    folder = tmp_path_factory.mktemp("pki")
    ours, others = pki.authority(folder / "authority"), pki.authority(folder / "others")
    made = {name: pki.certificate(ours, folder / name) for name in ("scheduler", "client")}
    made["stranger"] = pki.certificate(others, folder / "stranger")
    made["expired"] = pki.certificate(ours, folder / "expired", expired=True)
    return made


@pytest.fixture(scope="module")
def scheduler(issued):
    """Give the address of a cluster that wants certificates."""
    security = certificates(issued["scheduler"])
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, security=security,
                      protocol="tls://", dashboard_address="127.0.0.1:0") as cluster:  # fmt: skip
        yield cluster.scheduler_address


def test_a_certificate_of_the_same_authority_is_let_in(scheduler, issued):
    with DaskRunner.connect(scheduler, issued["client"]) as runner:
        assert sorted(outcome.result for outcome in runner.run(abs, [-1, -2])) == [1, 2]


@pytest.mark.parametrize("who", ["stranger", "expired"])
def test_other_certificates_are_refused(scheduler, issued, who, monkeypatch):
    monkeypatch.setattr(dask_module, "CONNECT_S", 2)
    with pytest.raises(TargetError, match="no Dask scheduler answers at tls://"):
        DaskRunner.connect(scheduler, issued[who])


def test_who_speaks_no_tls_is_refused(scheduler, issued, monkeypatch):
    monkeypatch.setattr(dask_module, "CONNECT_S", 2)
    plain = scheduler.replace("tls://", "tcp://")
    with pytest.raises(TargetError, match="no Dask scheduler answers at tcp://"):
        DaskRunner.connect(plain)
    with pytest.raises(TargetError, match="no Dask scheduler answers at tls://"):
        DaskRunner.connect(scheduler)
    with pytest.raises(OptionError, match="certificates are for tls:// addresses"):
        DaskRunner.connect(plain, issued["client"])


def test_a_file_that_is_missing_is_named(issued, tmp_path):
    folder = shutil.copytree(issued["client"], tmp_path / "half")
    (folder / "key.pem").unlink()
    for start in (
        lambda: DaskRunner.local(2, folder),
        lambda: DaskRunner.connect("tls://x:1", folder),
    ):
        with pytest.raises(OptionError, match=r"half/key.pem is missing: certificates are ca.pem"):
            start()


def test_a_cluster_of_our_own_speaks_tls_only(issued, monkeypatch):
    monkeypatch.setattr(dask_module, "CONNECT_S", 2)
    with DaskRunner.local(1, issued["client"]) as runner:
        address = runner._client.scheduler.address
        assert address.startswith("tls://127.0.0.1")
        assert [outcome.result for outcome in runner.run(abs, [-1])] == [1]
        (worker,) = runner._client.scheduler_info()["workers"]
        assert worker.startswith("tls://127.0.0.1")
        with pytest.raises(TargetError):
            DaskRunner.connect(address, issued["stranger"])
    assert not [child for child in psutil.Process().children() if "spawn_main" in child.cmdline()]
