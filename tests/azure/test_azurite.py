"""An archive and its sources on Azure's blob storage, as its emulator Azurite has it.

``npm install --global azurite`` and ``pip install adlfs`` bring both; without them this is skipped.
"""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import numpy as np
import pytest
import synth

import sansfilm
from sansfilm.options import Options, Storage
from sansfilm.store.target import open_target

SMALL = Options(storage=Storage(chunk=8, slab=4, smallest=8))
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The one account of every Azurite; the key is in its manual."""


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(endpoint, process):
    for _ in range(300):
        try:
            urllib.request.urlopen(endpoint, timeout=2)
        except urllib.error.HTTPError:  # it answers
            return
        except OSError:
            time.sleep(0.1)
        assert process.poll() is None, "Azurite has ended"
    raise RuntimeError("Azurite does not answer")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Give the log of a server, whose address and key are in the environment."""
    pytest.importorskip("adlfs", reason="adlfs is not installed")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no Azure server to test with: npm install --global azurite")
    folder, port = tmp_path_factory.mktemp("azurite"), _free_port()
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    told = folder / "log"
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port),
               "--location", str(folder), "--skipApiVersionCheck"]  # fmt: skip
    with told.open("wb") as out, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            _wait_for(endpoint, process)
            patch.setenv(
                "AZURE_STORAGE_CONNECTION_STRING",
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"BlobEndpoint={endpoint};",
            )
            yield told
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def box(log):
    """Give the name of a new container."""
    import adlfs

    name = f"c{uuid.uuid4().hex}"
    adlfs.AzureBlobFileSystem().mkdir(name)
    return name


def test_an_archive_on_azure_is_that_on_a_disk(box, log, tmp_path, tree):
    import adlfs

    made = synth.series(tmp_path / "in", slices=12)
    files = adlfs.AzureBlobFileSystem()
    for path in made.paths:
        files.pipe_file(f"{box}/in/{path.name}", path.read_bytes())
    report = sansfilm.ingest(f"az://{box}/in", f"az://{box}/a", options=SMALL)
    assert report.frames == {"found": 12, "stored": 12, "in_problems": 0}
    asked = [line for line in log.read_text().splitlines() if f"/{box}/in/" in line]
    assert sum('"GET ' in line for line in asked) == 12  # each file once
    assert not any('"HEAD ' in line for line in asked)  # and its size is known
    volume = sansfilm.open(f"az://{box}/a")[made.series_uid]
    np.testing.assert_array_equal(volume.array[:], made.values)
    assert [found for _, found in sansfilm.verify(f"az://{box}/a")] == [[], []]
    sansfilm.ingest(made.folder, f"az://{box}/b", options=SMALL)
    sansfilm.ingest(made.folder, tmp_path / "b", options=SMALL)
    stored = {name.split("/", 2)[2]: files.cat_file(name) for name in files.find(f"{box}/b")}
    assert stored == tree(tmp_path / "b")
    again = sansfilm.ingest(made.folder, f"az://{box}/b", options=SMALL)
    assert len(again.unchanged) == 1


def test_a_second_create_is_refused(box):
    target = open_target(f"az://{box}/a")
    assert target.create("key", b"first")
    assert not target.create("key", b"second")
    assert target.get("key") == b"first"
