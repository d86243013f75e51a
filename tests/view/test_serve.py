"""The local server: what viewers may read of a volume, in parts too, and nothing else."""

import http.client
import json
from urllib.parse import urlsplit

import numpy as np
import pytest
import synth
import tensorstore

import sansfilm
from sansfilm.options import Options, Storage
from sansfilm.view.serve import server

ORIGIN = "http://127.0.0.1:1"
SMALL = Options(storage=Storage(chunk=8, slab=8, smallest=8))


@pytest.fixture
def served(volume_of):
    volume = volume_of(slices=12, options=SMALL)
    url = server().publish(volume, ORIGIN)
    yield volume, url
    server().withdraw(url)


def ask(url, name, method="GET", **headers):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request(method, f"{parts.path}/{name}", headers=headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer, data


def test_levels_are_served_as_they_are_stored(served):
    volume, url = served
    for name, size in volume.level_sizes.items():
        answer, data = ask(url, name)
        assert (answer.status, len(data)) == (200, size)
        assert data == volume.read_part(name, 0, size)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert {name.partition("/")[0] for name in volume.level_sizes} == set(
        map(str, range(len(volume.levels)))
    )


@pytest.mark.parametrize(("wanted", "part", "told"), [
    ("bytes=0-9", slice(0, 10), "0-9"), ("bytes=5-", slice(5, None), "5-{last}"),
    ("bytes=-16", slice(-16, None), "{minus16}-{last}"),
    ("bytes=0-999999", slice(None), "0-{last}"),
    ("bytes=-999999", slice(None), "0-{last}"),
])  # fmt: skip
def test_parts_are_served(served, wanted, part, told):
    volume, url = served
    name = next(name for name in volume.level_sizes if "/c/" in name)
    size = volume.level_sizes[name]
    answer, data = ask(url, name, Range=wanted)
    assert answer.status == 206
    assert data == volume.read_part(name, 0, size)[part]
    expected = told.format(last=size - 1, minus16=size - 16)
    assert answer.headers["Content-Range"] == f"bytes {expected}/{size}"


def test_what_lies_beyond_is_refused(served):
    volume, url = served
    name = next(iter(volume.level_sizes))
    answer, data = ask(url, name, Range=f"bytes={volume.level_sizes[name]}-")
    assert (answer.status, data) == (416, b"")


def test_a_head_tells_the_size(served):
    volume, url = served
    for name, size in volume.level_sizes.items():
        answer, data = ask(url, name, "HEAD")
        assert (answer.status, data, int(answer.headers["Content-Length"])) == (200, b"", size)


def test_a_browser_may_ask_for_parts(served):
    answer, _ = ask(served[1], "0/zarr.json", "OPTIONS")
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Headers"] == "Range"


def test_the_image_is_told_without_what_we_know_besides(served):
    volume, url = served
    answer, data = ask(url, "zarr.json")
    assert answer.status == 200
    ((kind, told),) = json.loads(data)["attributes"].items()
    assert kind == "ome"
    assert told["omero"] == volume.ome["omero"]
    for part in ("axes", "datasets"):
        assert told["multiscales"][0][part] == volume.ome["multiscales"][0][part]
    assert volume.series_uid.encode() not in data


@pytest.mark.parametrize("name", [
    "", "_commit.json", "frames.parquet", "dicom/headers/zarr.json", "dicom/headers/c/0",
    "0/c/9/9/9", "../zarr.json", "0/../frames.parquet", "/etc/passwd", "0",
])  # fmt: skip
def test_nothing_else_is_served(served, name):
    answer, data = ask(served[1], name)
    assert (answer.status, data) == (404, b"")


def test_another_token_finds_nothing(served):
    for url in (served[1][:-1], served[1] + "x", f"http://127.0.0.1:{server().server_port}"):
        assert ask(url, "zarr.json")[0].status == 404


def test_what_is_withdrawn_is_gone(volume_of):
    url = server().publish(volume_of(slices=2), ORIGIN)
    assert ask(url, "zarr.json")[0].status == 200
    server().withdraw(url)
    assert ask(url, "zarr.json")[0].status == 404


def test_it_listens_to_this_machine_alone():
    assert server().server_address[0] == "127.0.0.1"


def test_a_lost_chunk_is_an_error_and_no_air(tmp_path):
    made = synth.series(tmp_path / "in", slices=4)
    sansfilm.ingest(made.folder, tmp_path / "a")
    volume = sansfilm.open(tmp_path / "a")[made.series_uid]
    name = next(name for name in volume.level_sizes if name.startswith("0/c/"))
    (tmp_path / "a" / volume.key / name).unlink()
    url = server().publish(volume, ORIGIN)
    assert ask(url, name)[0].status == 500
    server().withdraw(url)


def test_another_reader_reads_the_same_voxels(served):
    volume, url = served
    for level, array in enumerate(volume.levels):
        store = {"driver": "http", "base_url": f"{url}/{level}/"}
        found = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
        np.testing.assert_array_equal(found.read().result(), array[:])
