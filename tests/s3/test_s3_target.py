"""The contract of every target on a real S3 server, and what is special about it."""

import importlib.util
import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from sansfilm.errors import TargetError
from sansfilm.remote import options_for
from sansfilm.store.root import create_archive
from sansfilm.store.target import FsspecTarget, open_target

_SPEC = importlib.util.spec_from_file_location(
    "contract_of_targets", Path(__file__).parents[1] / "store" / "test_target.py"
)
contract = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(contract)

OUTAGE_S = float(os.environ.get("SANSFILM_OUTAGE_S", "1"))


class TestS3(contract.Atomic, contract.Shared):
    @pytest.fixture
    def make(self, bucket):
        return lambda: open_target(f"s3://{bucket}/archive")


def test_retries_and_single_reads_are_set_also_after_a_journey(bucket):
    target = pickle.loads(pickle.dumps(FsspecTarget(f"s3://{bucket}/a")))
    assert target._fs.retries == 10
    assert target._fs.max_concurrency == 1
    assert target._fs.config_kwargs["retries"].items() >= {"mode": "standard"}.items()
    assert options_for("s3://b/a")["s3"]["config_kwargs"]["retries"] == {
        "mode": "standard", "max_attempts": 8,
    }  # fmt: skip


def test_each_call_is_one_request(bucket, counted):
    target = open_target(f"s3://{bucket}/archive")
    target.put("warm", b"x")
    for call in (
        lambda: target.put("a", b"0123456789"),
        lambda: target.get("a"),
        lambda: target.get("a", 2, 3),
        lambda: target.exists("a"),
        lambda: target.modified("a"),
        lambda: target.create("b", b"y"),
        lambda: target.find(""),
        lambda: target.delete("b"),
    ):
        with counted() as requests:
            call()
        assert len(requests) == 1


def test_a_bucket_that_is_not_there_is_not_made(s3, files):
    target = open_target("s3://no-such-bucket-here/archive")
    with pytest.raises(TargetError, match="no-such-bucket-here"):
        create_archive(target)
    assert not files.exists("no-such-bucket-here")


def test_a_wrong_secret_is_told(bucket):
    target = open_target(f"s3://{bucket}/a", {"key": "testkey", "secret": "wrong"})
    with pytest.raises(TargetError):
        target.put("a", b"x")


def test_storage_options_stand_above_the_environment(s3, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    options = {"endpoint_url": s3.endpoint, "key": "testkey", "secret": "testsecret"}
    target = pickle.loads(pickle.dumps(open_target(f"s3://{bucket}/a", options)))
    target.put("a", b"x")
    assert target.get("a") == b"x"


def test_a_server_that_ignores_conditions_is_refused_unless_allowed(bucket, monkeypatch):
    """As some gateways do: played here by leaving the header out."""
    real = FsspecTarget._write
    monkeypatch.setattr(FsspecTarget, "_write", lambda self, key, data, **_: real(self, key, data))
    target = open_target(f"s3://{bucket}/archive")
    for _ in range(2):
        with pytest.raises(TargetError, match="go on with --allow-unsafe-commit"):
            create_archive(target)
        assert target.is_empty()
    unsafe = open_target(f"s3://{bucket}/archive", checks_first=True)
    create_archive(unsafe)
    create_archive(unsafe)
    assert not unsafe.create("sansfilm.json", b"")
    with pytest.raises(TargetError, match="knows no conditional writes"):
        create_archive(target)
    assert target.exists("sansfilm.json")  # an archive is not undone


def test_an_outage_is_waited_for(s3, bucket, record):
    target = open_target(f"s3://{bucket}/archive")
    done, failed = [], []

    def work(number):
        try:
            for key in range(60):
                target.put(f"{number}/{key}", b"x" * 50_000)
                assert len(target.get(f"{number}/{key}")) == 50_000
                time.sleep(0.02)
            done.append(number)
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    s3.stop_gateway()
    time.sleep(OUTAGE_S)
    s3.start_gateway()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(done) == 2
    assert len(target.find("")) == 120
    record("outage that was waited for", f"{OUTAGE_S:g} s and the start of the gateway")
