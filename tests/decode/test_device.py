"""What a GPU decodes, what the CPU does instead, and what is told: with a device that pretends."""

import os
import threading

import numpy as np
import pytest
import synth
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import sansfilm
from sansfilm.cli.main import main
from sansfilm.decode import device, device_backends
from sansfilm.decode.guarded import decode_frames
from sansfilm.decode.rates import Rate, Rates
from sansfilm.errors import DeviceError, ProblemCode
from sansfilm.model import Decoding
from sansfilm.options import Options
from sansfilm.run.contract import OnGpu
from sansfilm.run.dask import DaskRunner

PREFER = Options().prefer
GPU, AUTO = Decoding(PREFER, device="gpu"), Decoding(PREFER, device="auto")
FAKE = '''
import os, time
import imagecodecs
from sansfilm.decode import syntaxes
from sansfilm.decode.contract import NOT_READ, Reads

class Decoder:
    """Decodes as CharLS does, but for what the environment asks for."""

    name, device, requires = "fake", "gpu", "nothing"
    reads = (Reads(syntaxes.JPEG_LS, (2, 16)),)

    def missing(self, transfer_syntax):
        return "" if transfer_syntax in syntaxes.JPEG_LS else "unknown"

    def decode_batch(self, frames, out):
        mode, _, number = os.environ.get("FAKE", "").partition(" ")
        golden = frames[0][1].rows == 40 and frames[0][1].columns == 36
        with open(os.environ["FAKE_LOG"], "a") as log:
            log.write(f"{os.getpid()} {'golden' if golden else len(frames)}\\n")
        if mode == "slow":
            time.sleep(0.3)
        if mode == "memory" and len(frames) > int(number) and not golden:
            raise MemoryError
        if mode == "raises" and not golden:
            raise RuntimeError("ZZPHI")
        reasons = []
        for (data, spec), array in zip(frames, out):
            if mode == "refuses" and not golden:
                reasons.append(NOT_READ)
                continue
            try:
                array[...] = imagecodecs.jpegls_decode(data)
            except Exception:
                reasons.append("" if mode == "lenient" else "corrupt")
                continue
            reasons.append("")
            if mode == "golden" or mode == "wrong" and not golden and array.flat[5] != 77:
                array.flat[7] ^= 1
            if mode == "suspects" and not golden:
                reasons[-1] = "suspect"
                if number:
                    array[...] = 0
        return reasons
'''


@pytest.fixture
def fake(plugins, monkeypatch, tmp_path):
    """Give a function that installs the device, and one that tells its calls."""
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("FAKE_LOG", str(log))

    def install(mode=""):
        monkeypatch.setenv("FAKE", mode)
        if not (tmp_path / "plugins").exists():
            plugins(device_backends.GROUP, fake=FAKE)

    install.calls = lambda: [line.split() for line in log.read_text().splitlines()]
    install.sizes = lambda: [int(size) for _, size in install.calls() if size != "golden"]
    return install


@pytest.fixture
def frames(spec):
    """Give a function that makes so many frames, each different, and their values."""

    def make(count, syntax=synth.JPEG_LS, bits=12):
        stored = synth.phantom(np.random.default_rng(count), (count, 24, 28), 16, bits)
        return [
            (synth.encode(one, syntax, bits), spec(one, syntax, bits)) for one in stored
        ], stored

    return make


def decoded(frames, how=GPU):
    """Return values, decoders and notes of frames, none of which fails."""
    values, names, notes = [], [], []
    for done in decode_frames(frames, how):
        assert done.error is None
        values.append(np.array(done.stored))
        names.append(done.decoder)
        notes += done.notes
    return np.array(values), names, notes


# ------------------------------------------------------------------------------- who takes what


def test_a_device_takes_all_that_it_reads(fake, frames):
    fake()
    some, stored = frames(9)
    values, names, notes = decoded(some)
    np.testing.assert_array_equal(values, stored)
    assert names == ["fake"] * 9
    assert not notes
    assert fake.calls()[0][1] == "golden"
    assert fake.sizes() == [9]
    assert decoded(some, Decoding(PREFER))[1] == ["imagecodecs"] * 9  # device="cpu" is the default


def test_what_it_does_not_read_is_for_the_cpu_and_all_keep_their_order(fake, frames):
    fake()
    (ls, a), (j2k, b) = frames(4), frames(3, synth.J2K)
    sixteen, c = frames(2, bits=16)
    mixed = [ls[0], j2k[0], ls[1], sixteen[0], j2k[1], j2k[2], ls[2], ls[3], sixteen[1]]
    values, names, _ = decoded(mixed)
    np.testing.assert_array_equal(
        values, np.array([a[0], b[0], a[1], c[0], b[1], b[2], a[2], a[3], c[1]])
    )
    assert [name == "fake" for name in names] == [1, 0, 1, 1, 0, 0, 1, 1, 1]


def test_a_few_frames_belong_on_the_cpu_and_thousands_on_the_gpu():
    rates, frame = Rates(), 512 * 512 * 2
    assert rates.share(synth.JPEG_LS, 8, frame) == 0
    assert rates.share(synth.JPEG_LS, 8, frame, cores=16) == 0
    assert rates.share(synth.JPEG_LS, 300, frame, cores=16) == 0
    assert rates.share(synth.JPEG_LS, 5000, frame, cores=16) > 3000
    assert rates.share(synth.JPEG_LS, 64, frame) > 40
    assert rates.share(synth.J2K, 64, frame, cores=16) > 40
    assert rates.share(synth.HTJ2K, 8, frame) == 0


@given(
    st.integers(0, 60), st.integers(1, 10**6), st.floats(0.001, 0.5), st.floats(1e6, 1e10),
    st.floats(1e6, 1e9), st.sampled_from([1, 2, 16]),
)  # fmt: skip
def test_the_share_ends_soonest(count, size, start, gpu, core, cores):
    rates = Rates()
    rates._gpu[synth.JPEG_LS], rates._core[synth.JPEG_LS] = Rate(start, gpu), core

    def ends(n):
        return max(start + n * size / gpu if n else 0, (count - n) * size / core / cores)

    found = rates.share(synth.JPEG_LS, count, size, cores=cores)
    assert ends(found) <= min(ends(n) for n in range(count + 1)) * (1 + 1e-9)


def test_measured_rates_take_the_place_of_the_table():
    rates, size = Rates(), 2**25
    for _ in range(30):
        rates.note_gpu(synth.JPEG_LS, size, 20)
        rates.note_core(synth.JPEG_LS, size, 0.1)
    assert rates.share(synth.JPEG_LS, 5000, 2**19) < 100
    for _ in range(60):
        rates.note_gpu(synth.JPEG_LS, size, 0.001)
        rates.note_core(synth.JPEG_LS, size, 5)
    assert rates.share(synth.JPEG_LS, 8, 2**19) == 8


def test_auto_splits_a_batch(fake, frames):
    fake()
    some, stored = frames(10)
    rates = device.DEVICE.rates
    size = stored[0].nbytes
    rates._core[synth.JPEG_LS], rates._gpu[synth.JPEG_LS] = size / 1.0, Rate(3.0, size / 1.0)
    values, names, _ = decoded(some, AUTO)
    np.testing.assert_array_equal(values, stored)
    assert (
        names == ["imagecodecs"] * 7 + ["fake"] * 3 or names == ["imagecodecs"] * 6 + ["fake"] * 4
    )
    assert rates._core[synth.JPEG_LS] != size  # measured


def test_what_waits_goes_in_one_batch(fake, frames):
    """Threads that ask while the device is busy are served together."""
    fake("slow")
    some, stored = frames(5)
    results = {}

    def work(number):
        results[number] = decoded(some)[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):  # the same frames, which are told apart all the same
        np.testing.assert_array_equal(results[number], stored)
    assert sum(fake.sizes()) == 20
    assert max(fake.sizes()) > 5


# ------------------------------------------------------------------------------- what goes wrong


def test_a_device_that_fails_its_canary_is_not_used(fake, frames):
    fake("golden")
    some, stored = frames(5)
    for expected in (1, 0):
        values, names, notes = decoded(some)
        np.testing.assert_array_equal(values, stored)
        assert names == ["imagecodecs"] * 5
        assert len(notes) == expected
        assert all("fake is not used for JPEG-LS Lossless here" in note for note in notes)
    assert not fake.sizes()


def test_a_device_that_disagrees_is_not_used_any_more(fake, frames):
    fake("wrong")
    some, stored = frames(5)
    for expected in (1, 0):
        values, names, notes = decoded(some)
        np.testing.assert_array_equal(values, stored)
        assert names == ["imagecodecs"] * 5
        assert len(notes) == expected
    assert fake.sizes() == [5]


def test_one_frame_in_so_many_is_compared(fake, frames):
    """The first frames are right; the error shows when the next one is compared."""
    fake("wrong")
    some, stored = frames(12)
    for one in stored[:9]:
        one.flat[5] = 77
    some = [(synth.encode(one, synth.JPEG_LS, 12), about)
            for one, (_, about) in zip(stored, some, strict=True)]  # fmt: skip
    how = Decoding(PREFER, crosscheck=4, device="gpu")
    first, names, notes = decoded(some[:8], how)
    assert names == ["fake"] * 8
    assert not notes
    np.testing.assert_array_equal(first, stored[:8])
    later, names, notes = decoded(some[8:12], how)  # the ninth is compared and right
    assert names == ["fake"] * 4
    assert (later != stored[8:12]).sum() == 3
    again, names, (note,) = decoded(some[9:12], how)
    assert names == ["imagecodecs"] * 3
    assert "one in 4 is compared" in note
    np.testing.assert_array_equal(again, stored[9:12])


def test_a_batch_that_is_too_large_is_halved(fake, frames):
    fake("memory 3")
    some, stored = frames(13)
    for _ in range(2):
        values, names, notes = decoded(some)
        np.testing.assert_array_equal(values, stored)
        assert names == ["fake"] * 13
        assert not notes
    assert fake.sizes() == [13, 6, 3, 3, 3, 3, 1, 3, 3, 3, 3, 1]


def test_without_memory_for_one_frame_the_cpu_does_it(fake, frames):
    fake("memory 0")
    some, stored = frames(3)
    values, names, notes = decoded(some)
    np.testing.assert_array_equal(values, stored)
    assert names == ["imagecodecs"] * 3
    assert "no memory on the device" in notes[0]


def test_a_device_that_raises_is_not_used_any_more(fake, frames):
    fake("raises")
    some, stored = frames(3)
    for expected in (1, 0):
        values, names, notes = decoded(some)
        np.testing.assert_array_equal(values, stored)
        assert names == ["imagecodecs"] * 3
        assert len(notes) == expected
        assert not any("ZZPHI" in note for note in notes)


@pytest.mark.parametrize("wrong", [True, False])
def test_suspected_frames_are_for_the_cpu(fake, frames, wrong):
    """A frame may well be flat; it is told only where the CPU finds another one."""
    fake("suspects wrong" if wrong else "suspects")
    some, stored = frames(3)
    values, names, notes = decoded(some)
    np.testing.assert_array_equal(values, stored)
    assert names == ["imagecodecs"] * 3
    assert len(notes) == 3 * wrong


def test_a_frame_that_only_the_device_decodes_is_bad(fake, frames):
    """It costs itself, as without a GPU, and not the device."""
    fake("lenient")
    some, _ = frames(4)
    data, about = some[0]
    some[0] = data[:60] + bytes(len(data) - 62) + b"\xff\xd9", about
    bad, *others = decode_frames(some, GPU)
    assert bad.error.code == ProblemCode.DECODE_FAILED
    assert [one.decoder for one in others] == ["fake"] * 3
    assert not any(one.notes for one in (bad, *others))


def test_what_it_refuses_is_nothing_to_tell(fake, frames):
    fake("refuses")
    some, stored = frames(3)
    values, names, notes = decoded(some)
    np.testing.assert_array_equal(values, stored)
    assert (names, notes) == (["imagecodecs"] * 3, [])


def test_bad_frames_are_what_they_are_on_the_cpu(fake, frames):
    fake()
    some, _ = frames(6)
    data, about = some[2]
    some[2] = data[:60] + bytes(len(data) - 62) + b"\xff\xd9", about
    some[4] = data[:-40], about  # sniffed: never reaches the device
    with_gpu = list(map(outcome, decode_frames(some, GPU)))
    assert with_gpu == list(map(outcome, decode_frames(some, Decoding(PREFER))))
    assert [code for code, _ in with_gpu] == ["", "", "DECODE_FAILED", "", "DECODE_FAILED", ""]
    assert fake.sizes() == [5]


def outcome(done):
    assert not done.notes
    return (str(done.error.code), "") if done.error else ("", done.stored.tobytes())


# ------------------------------------------------------------------------------- whole ingests


def test_an_ingest_with_a_gpu_gives_the_same_volume(fake, tmp_path):
    fake()
    made = synth.series(tmp_path / "in", slices=20, transfer_syntax=synth.JPEG_LS)
    for name in ("cpu", "gpu"):
        options = Options(device=name)
        report = sansfilm.ingest(tmp_path / "in", tmp_path / name, options=options)
        assert report.device == name
        assert not report.problems
        (volume,) = sansfilm.open(tmp_path / name)
        np.testing.assert_array_equal(volume.array[:], made.values)
        assert set(volume.frames.decoder) == {"fake" if name == "gpu" else "imagecodecs"}
    assert fake.sizes() == [20]  # a slab is one batch
    digests = [sansfilm.open(tmp_path / name)[made.series_uid].frames.pixel_digest.tolist()
               for name in ("cpu", "gpu")]  # fmt: skip
    assert digests[0] == digests[1]


def test_a_wrong_gpu_is_one_problem_of_a_whole_ingest(fake, tmp_path):
    fake("wrong")
    made = synth.series(tmp_path / "in", slices=20, transfer_syntax=synth.JPEG_LS)
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=Options(device="gpu"))
    assert [(p.code, p.frames) for p in report.problems] == [(ProblemCode.DECODER_WRONG, 0)]
    (volume,) = sansfilm.open(tmp_path / "a")
    np.testing.assert_array_equal(volume.array[:], made.values)


def test_a_gpu_that_is_not_there(tmp_path):
    synth.series(tmp_path / "in", slices=1)
    options = Options(device="gpu")
    with pytest.raises(DeviceError, match=r"install sansfilm\[gpu\] .* or use device auto or cpu"):
        sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=options)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        pytest.raises(DeviceError, match="--resources"),
    ):
        sansfilm.ingest(tmp_path / "in", tmp_path / "a", options=options, client=client)
    assert sansfilm.ingest(tmp_path / "in", tmp_path / "a").device == "cpu"


def test_slabs_for_a_gpu_run_where_it_is(fake, tmp_path):
    """One worker more has the GPU: only it calls the device, and the others do what else there is.

    With `auto` they also take what the GPU has no room for.
    """
    fake()
    made = [synth.series(tmp_path / "in" / str(n), slices=4, seed=n,
                         transfer_syntax=(synth.JPEG_LS, synth.J2K)[n % 2])
            for n in range(4)]  # fmt: skip
    with DaskRunner.local(1, gpu=True) as runner:
        assert runner.gpus == 1
        pids = runner._client.run(os.getpid)
        with_gpu = pids.pop(*runner._with_gpu)
        (without,) = pids.values()
        report = sansfilm.ingest(
            tmp_path / "in", tmp_path / "a", client=runner._client, options=Options(device="gpu")
        )
        on_gpu = OnGpu(_where_slowly, lambda task: task % 2 == 0)
        shared = {o.task: o.result for o in runner.run(_where, range(40), on_gpu)}
        only = OnGpu(_where_slowly, lambda task: task % 2 == 0, always=True)
        always = {o.task: o.result for o in runner.run(_where, range(12), only)}
    assert not report.problems
    assert report.device == "gpu"
    assert {pid for pid, _ in fake.calls()} == {str(with_gpu)}
    archive = sansfilm.open(tmp_path / "a")
    for one in made:
        volume = archive[one.series_uid]
        np.testing.assert_array_equal(volume.array[:], one.values)
        expected = {"fake"} if one in made[::2] else {"imagecodecs"}
        assert set(volume.frames.decoder) == expected
    assert {kind for kind, _ in shared.values()} == {"cpu", "gpu"}
    assert {shared[task][0] for task in range(1, 40, 2)} == {"cpu"}
    assert {shared[task][0] for task in range(0, 40, 2)} == {"cpu", "gpu"}
    assert [always[task][0] for task in range(12)] == ["gpu", "cpu"] * 6
    ran = {*shared.values(), *always.values()}
    assert {pid for kind, pid in ran if kind == "gpu"} == {with_gpu}
    assert without in {pid for kind, pid in ran if kind == "cpu"}  # idle workers may steal them


def _where(_):
    return "cpu", os.getpid()


def _where_slowly(_):
    threading.Event().wait(0.3)
    return "gpu", os.getpid()


def test_doctor_shows_it(fake, capsys):
    fake()
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out.partition("decoders on the GPU:")[2]
    (line,) = [line for line in told.splitlines() if "JPEG-LS Lossless" in line]
    assert "jpegls-cuda" in line
    assert "missing" in line
    assert "install sansfilm[gpu]" in line
    assert "fake         gpu" in told


def test_a_backend_that_cannot_be_loaded_is_told(plugins, capsys):
    plugins(device_backends.GROUP, other="Decoder = 5", broken="import nothing_of_that_name")
    assert device_backends.broken().keys() == {"other", "broken"}
    assert main(["doctor"]) == 0
    assert "broken cannot be loaded" in capsys.readouterr().out
