"""Decoders that are wrong are found out: by golden codestreams, and by a second decoder."""

import time

import imagecodecs
import numpy as np
import openjpeg.utils
import pytest
import rle.utils
import synth

import sansfilm
from sansfilm.decode import canaries, registry, syntaxes
from sansfilm.decode.canaries import Health, fails, golden
from sansfilm.decode.frames import decode_batch
from sansfilm.decode.guarded import GUARDS, decode_frames
from sansfilm.errors import FrameDecodeError, ProblemCode
from sansfilm.model import Decoding
from sansfilm.options import Options

PREFER = Options().prefer

# A second imagecodecs that is wrong when its file of that name is there, in what the word says.
FAKE = """
import numpy as np
from pathlib import Path
from sansfilm.decode.contract import Reads
from sansfilm.decode.imagecodecs_backend import ImagecodecsDecoder

class Decoder(ImagecodecsDecoder):
    name = "{name}"

    def decode(self, frame, spec, out=None):
        raw = super().decode(frame, spec)
        if {wrong}:
            raw = raw ^ 1
        return raw
"""
ALWAYS, NEVER = "True", "False"
LARGE = "spec.rows != 40"
SUDDENLY = "spec.rows != 40 or vars(self).setdefault('seen', []).append(1) or len(self.seen) > 1"
"""Right with its first golden image, wrong from the next frame on."""


@pytest.fixture(autouse=True)
def _guards():
    GUARDS.close()
    yield
    GUARDS.close()


@pytest.fixture
def batch(spec):
    stored = synth.phantom(np.random.default_rng(0), (6, 12, 10))
    return stored, [(synth.encode(one, synth.JPEG_LS, 12), spec(one, synth.JPEG_LS, 12))
                    for one in stored]  # fmt: skip


def fakes(plugins, **wrong):
    plugins(**{name: FAKE.format(name=name, wrong=how) for name, how in wrong.items()})


@pytest.mark.parametrize("syntax", [uid for uid in syntaxes.NAMES if uid not in
                                    syntaxes.NATIVE | {syntaxes.DEFLATED_FRAME}],
                         ids=syntaxes.NAMES.get)  # fmt: skip
def test_every_compressed_syntax_has_a_golden_image_that_all_decode(syntax):
    readers = registry.readers(syntax, PREFER)
    assert readers
    assert [fails(decoder, syntax) for decoder in readers] == [""] * len(readers)
    assert (golden()[syntax]["largest_error"] == 0) == (syntax in syntaxes.LOSSLESS)


@pytest.mark.parametrize(
    ("syntax", "decode"),
    [
        (synth.RLE, lambda data: np.frombuffer(
            rle.utils.decode_frame(data, 40 * 36, 16, "<"), "<u2").reshape(2, -1)),
        (synth.JPEG_LOSSLESS, imagecodecs.ljpeg_decode),
        (synth.JPEG_LOSSLESS_ANY, imagecodecs.ljpeg_decode),
        (synth.J2K, openjpeg.utils.decode),
        (synth.HTJ2K, openjpeg.utils.decode),
    ],
)  # fmt: skip
def test_the_golden_image_by_decoders_that_sansfilm_does_not_use_for_it(syntax, decode):
    decoded = np.asarray(decode((canaries.FOLDER / f"{syntax}.bin").read_bytes()))
    expected = canaries.image(12)
    assert np.array_equal(decoded.ravel(), expected.ravel())


def test_all_of_them_cost_little():
    decoder = registry.backend("imagecodecs")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert not any(fails(decoder, uid) for uid in golden())
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


def test_a_wrong_decoder_is_found_and_replaced(plugins, batch):
    stored, frames = batch
    fakes(plugins, liar=ALWAYS)
    results = [(np.array(done.stored), done.decoder, done.notes)
               for done in decode_frames(frames, Decoding(("liar", "imagecodecs")))]  # fmt: skip
    assert np.array_equal([values for values, *_ in results], stored)
    assert {decoder for _, decoder, _ in results} == {"imagecodecs"}
    (note,) = (note for *_, notes in results for note in notes)
    assert note == ("liar is not used for JPEG-LS Lossless here: of a known image, "
                    "values differ by up to 1")  # fmt: skip


def test_without_another_decoder_nothing_comes_out(plugins, batch):
    _, frames = batch
    fakes(plugins, liar=ALWAYS)
    for done in decode_frames(frames, Decoding(("liar",))):
        assert done.error.code == ProblemCode.DECODE_FAILED
        assert "liar: is wrong for a known image" in done.error.message


def test_a_decoder_that_refuses_the_golden_image_is_not_trusted(monkeypatch):
    def refuse(*_):
        raise FrameDecodeError("no")

    decoder = registry.backend("imagecodecs")
    monkeypatch.setattr(type(decoder), "decode", refuse)
    health = Health()
    assert not health.trusts(decoder, synth.HTJ2K)
    assert not health.trusts(decoder, synth.HTJ2K)
    assert len(health.take_notes()) == 1
    assert health.take_notes() == ()


def test_a_damaged_golden_image_is_no_fault_of_a_decoder(monkeypatch, tmp_path):
    golden()
    (tmp_path / f"{synth.J2K}.bin").write_bytes(b"damaged")
    monkeypatch.setattr(canaries, "FOLDER", tmp_path)
    assert "install sansfilm again" in fails(registry.backend("imagecodecs"), synth.J2K)


@pytest.mark.parametrize("one_in", [1, 2, 3])
def test_one_frame_in_so_many_is_compared(plugins, batch, one_in):
    """Both are right with the golden image: nobody can tell who is wrong with the frame."""
    stored, frames = batch
    fakes(plugins, honest=NEVER, shifty=LARGE)
    how = Decoding(("honest", "shifty"), crosscheck=one_in)
    for number, done in enumerate(decode_frames(frames, how)):
        if (number + 1) % one_in == 0:
            assert done.error.code == ProblemCode.DECODE_FAILED
            assert done.error.message == "honest and shifty decode it to different values"
        else:
            assert np.array_equal(done.stored, stored[number])


@pytest.mark.parametrize("prefer", [("honest", "suddenly"), ("suddenly", "honest")])
def test_who_is_still_right_with_the_golden_image_is_believed(plugins, batch, prefer):
    stored, frames = batch
    fakes(plugins, honest=NEVER, suddenly=SUDDENLY)
    notes = []
    for number, done in enumerate(decode_frames(frames, Decoding(prefer, crosscheck=1))):
        assert np.array_equal(done.stored, stored[number])
        assert done.decoder == "honest"
        notes += done.notes
    assert len(notes) == 1
    assert notes[0].startswith("suddenly is not used")


def test_decoders_that_agree_are_not_in_doubt(spec):
    stored = synth.phantom(np.random.default_rng(0), (4, 33, 47))
    for syntax in (synth.J2K, synth.HTJ2K, synth.JPEG_LS, synth.RLE):
        frames = [(synth.encode(one, syntax, 12), spec(one, syntax, 12)) for one in stored]
        for number, done in enumerate(decode_frames(frames, Decoding(PREFER, crosscheck=1))):
            assert np.array_equal(done.stored, stored[number])
            assert done.notes == ()


def test_lossy_frames_are_not_compared(spec, monkeypatch):
    stored = synth.phantom(np.random.default_rng(0), (1, 33, 47))[0]
    frame = synth.encode(stored, synth.J2K_LOSSY, 12), spec(stored, synth.J2K_LOSSY, 12)
    second = registry.backend("pylibjpeg")
    health = Health()
    health.trusts(second, synth.J2K_LOSSY)
    monkeypatch.setattr(type(second), "decode", None)
    (done,) = decode_batch([frame], [np.empty_like(stored)], Decoding(PREFER, crosscheck=1), health)
    assert done.decoder == "imagecodecs"


def test_a_wrong_decoder_is_reported_once_and_all_is_stored(plugins, tmp_path):
    fakes(plugins, liar=ALWAYS)
    made = synth.series(tmp_path / "in", slices=12, rows=12, columns=10,
                        transfer_syntax=synth.JPEG_LS)  # fmt: skip
    report = sansfilm.ingest(tmp_path / "in", tmp_path / "a",
                             options=Options(prefer=("native", "liar", "imagecodecs")))  # fmt: skip
    (problem,) = report.problems
    assert (problem.code, problem.frames) == (ProblemCode.DECODER_WRONG, 0)
    assert report.frames == {"found": 12, "stored": 12, "in_problems": 0}
    (volume,) = sansfilm.open(tmp_path / "a")
    assert np.array_equal(volume.array[:], made.values)


def test_every_golden_file_is_in_the_manifest():
    assert {path.stem for path in canaries.FOLDER.glob("*.bin")} == golden().keys()


CRASHES = """
import ctypes, os, time
from sansfilm.decode.contract import Reads
from sansfilm.decode.imagecodecs_backend import ImagecodecsDecoder

class Decoder(ImagecodecsDecoder):
    name = "{name}"

    def decode(self, frame, spec, out=None):
        if spec.rows == 40:
            with open(__file__ + ".tried", "a") as tried:
                tried.write("x")
            {deed}
        return super().decode(frame, spec, out)
"""
DEEDS = {
    "ctypes.string_at(0)": "it crashed: SIGSEGV",
    "os._exit(7)": "it ended its process with code 7",
    "time.sleep(1000)": "it took too long",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_decoder_that_dies_of_the_golden_image_is_passed_over(plugins, batch, deed):
    """It is told once, costs no frame, and is tried once, however many guards there are."""
    stored, frames = batch
    folder = plugins(bad=CRASHES.format(name="bad", deed=deed))
    how = Decoding(("bad", "imagecodecs"), seconds=1)
    notes = []
    for _ in range(2):
        for number, done in enumerate(decode_frames(frames, how)):
            assert np.array_equal(done.stored, stored[number])
            assert done.decoder == "imagecodecs"
            notes += done.notes
    for guard, _ in GUARDS._free:  # the next guard knows it too
        guard.close()
    for number, done in enumerate(decode_frames(frames, how)):
        assert np.array_equal(done.stored, stored[number])
        notes += done.notes
    assert notes == [f"bad is not used for JPEG-LS Lossless here: of a known image, {DEEDS[deed]}"]
    assert [path.read_text() for path in folder.glob("*.tried")] == ["x"]


def test_a_decoder_that_dies_of_it_without_another_fails_its_frames(plugins, batch):
    _, frames = batch
    plugins(bad=CRASHES.format(name="bad", deed="os.abort()"))
    results = list(decode_frames(frames, Decoding(("bad",), seconds=1)))
    for done in results:
        assert done.error.code == ProblemCode.DECODE_FAILED
        assert "bad: is wrong for a known image" in done.error.message
    (note,) = (note for done in results for note in done.notes)
    assert note.endswith("it crashed: SIGABRT")


def test_several_decoders_may_die_of_it(plugins, batch):
    stored, frames = batch
    plugins(**{name: CRASHES.format(name=name, deed="os.abort()") for name in ("bad", "worse")})
    results = [(np.array(done.stored), done.notes) for done in
               decode_frames(frames, Decoding(("bad", "worse", "imagecodecs")))]  # fmt: skip
    assert np.array_equal([values for values, _ in results], stored)
    assert len([note for _, notes in results for note in notes]) == 2
