"""Storage that goes away for longer than anybody waits, or credentials that end, in a run."""

import random
import threading
import time

import pytest
import synth
from harness import number
from proxy import Proxy

import sansfilm
from sansfilm import remote
from sansfilm.errors import SourceLostError, TargetError
from sansfilm.options import Options, Storage

s3fs = pytest.importorskip("s3fs")
SMALL = Options(storage=Storage(chunk=16, slab=4, smallest=8))


@pytest.fixture
def sources(bucket, files, tmp_path):
    """Give the URL of two series on the server."""
    for seed in range(2):
        synth.series(tmp_path / "in" / f"s{seed}", slices=30, seed=seed)
    files.put(str(tmp_path / "in"), f"{bucket}/in", recursive=True)
    return f"s3://{bucket}/in"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setitem(remote._S3["config_kwargs"], "retries", {"max_attempts": 2})
    monkeypatch.setattr(remote, "RETRIES", 1)


@pytest.mark.parametrize(
    ("kind", "after"),
    [("expired", 20), ("reset", 45)] if number("FAULTS", 0) < 1000
    else [(kind, after) for kind in ("503", "reset", "expired") for after in (5, 20, 45, 58)],
)  # fmt: skip
def test_no_volume_without_slices_is_published(
    s3, sources, tmp_path, tree, impatient, monkeypatch, after, kind
):
    """A file that cannot be had is no bad file; each is fetched once, and kept until decoded."""
    sansfilm.ingest(sources, tmp_path / "quiet", options=SMALL)
    with Proxy(s3.endpoint, kinds=(kind,)) as proxy:
        behind(proxy, monkeypatch)
        threading.Thread(target=go_away, args=(proxy, after), daemon=True).start()
        with pytest.raises(SourceLostError, match="run the same command again"):
            slowly(sansfilm.ingest, monkeypatch)(sources, tmp_path / "a", options=SMALL)
        assert proxy.counts.requests > after
    behind(s3, monkeypatch)
    quiet = tree(tmp_path / "quiet")
    assert tree(tmp_path / "a").items() <= quiet.items()
    report = sansfilm.ingest(sources, tmp_path / "a", options=SMALL)
    assert report.problems == []
    assert tree(tmp_path / "a") == quiet


def test_an_archive_that_goes_away_is_a_storage_error(
    s3, sources, bucket, tmp_path, impatient, monkeypatch
):
    with Proxy(s3.endpoint, kinds=("expired",)) as proxy:
        options = {"endpoint_url": proxy.endpoint}
        threading.Thread(target=go_away, args=(proxy, 12), daemon=True).start()
        with pytest.raises(TargetError):
            sansfilm.ingest(tmp_path / "in", f"s3://{bucket}/a", options=SMALL, workers=1,
                            storage_options=options)  # fmt: skip
    assert [found for _, found in sansfilm.verify(f"s3://{bucket}/a") if found] == []


def behind(server, monkeypatch):
    """Use a server from now on: file systems are kept by their options."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    s3fs.S3FileSystem.clear_instance_cache()


def go_away(proxy, after):
    while proxy.counts.requests < after:
        time.sleep(0.0005)
    proxy.rate = 1.0


def slowly(call, monkeypatch):
    """Let a call read its sources a little slower, so that the moment is met."""
    from sansfilm.planning.source import Source

    fetch = Source._fetch

    def later(self, offset, length):
        time.sleep(random.random() / 200)
        return fetch(self, offset, length)

    monkeypatch.setattr(Source, "_fetch", later)
    return call
