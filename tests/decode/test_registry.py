"""Which decoder is used, in which order, and what is said when there is none."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import jpeg2000_encoder
import numpy as np
import pytest
import synth

from sansfilm.decode import registry, syntaxes
from sansfilm.decode.contract import FrameDecoder, Reads
from sansfilm.decode.frames import decode_batch, decode_frame
from sansfilm.errors import BadInstanceError, FrameDecodeError, OptionError, ProblemCode
from sansfilm.model import Decoding
from sansfilm.options import Options

PREFER = Options().prefer


@pytest.fixture
def frame(spec):
    """Give a JPEG 2000 frame: codestream, description, stored values."""
    stored = synth.phantom(np.random.default_rng(0), (1, 32, 40))[0]
    return synth.encode(stored, synth.J2K, 12), spec(stored, synth.J2K, 12), stored


def code(frame: bytes, about, prefer=PREFER) -> ProblemCode:
    with pytest.raises(BadInstanceError) as caught:
        decode_frame(frame, about, prefer)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    return caught.value.code


@pytest.mark.parametrize("name", PREFER)
def test_backends_keep_the_contract(name):
    decoder = registry.backend(name)
    assert isinstance(decoder, FrameDecoder)
    assert decoder.name == name
    known = frozenset[str]().union(*(reads.transfer_syntaxes for reads in decoder.reads))
    assert known <= set(syntaxes.NAMES)
    assert decoder is registry.backend(name)
    for uid in (*syntaxes.NAMES, "1.2.3"):
        missing = decoder.missing(uid)
        assert bool(missing) is (uid not in known)


def test_every_syntax_has_a_decoder():
    rows = registry.table(PREFER)
    assert list(dict.fromkeys(row["uid"] for row in rows)) == list(syntaxes.NAMES)
    assert not [row for row in rows if row["missing"]]
    used = {row["uid"]: row["decoder"] for row in rows if row["state"] == "used"}
    following = {row["uid"]: row["decoder"] for row in rows if row["state"] == "next"}
    assert used.keys() == syntaxes.NAMES.keys()
    assert following == dict.fromkeys(syntaxes.JPEG_2000 | syntaxes.HTJ2K, "pylibjpeg")


def test_the_table_says_why_a_decoder_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    registry.readers.cache_clear()
    rows = registry.table(PREFER)
    registry.readers.cache_clear()
    states = {(row["uid"], row["decoder"]): row["state"] for row in rows}
    assert states[synth.J2K, "imagecodecs"] == states[synth.JPEG_LS, "imagecodecs"] == "missing"
    assert states[synth.J2K, "pylibjpeg"] == "used"
    (said,) = {row["missing"] for row in rows if row["decoder"] == "imagecodecs"}
    assert "imagecodecs is not installed" in said
    assert "install imagecodecs>=" in said


def test_preference_decides(frame):
    codestream, about, stored = frame
    for prefer in (("pylibjpeg", "imagecodecs"), ("imagecodecs", "pylibjpeg")):
        decoded, name = decode_frame(codestream, about, prefer)
        assert name == prefer[0]
        assert np.array_equal(decoded, stored)


def test_the_second_decoder_steps_in(frame, monkeypatch):
    def refuse(*_):
        raise FrameDecodeError("no")

    codestream, about, stored = frame
    monkeypatch.setattr(type(registry.backend("imagecodecs")), "decode", refuse)
    decoded, name = decode_frame(codestream, about, PREFER)
    assert name == "pylibjpeg"
    assert np.array_equal(decoded, stored)
    monkeypatch.setattr(type(registry.backend("pylibjpeg")), "decode", refuse)
    assert code(codestream, about) == ProblemCode.DECODE_FAILED


def test_no_decoder(frame, spec):
    codestream, about, stored = frame
    assert code(codestream, about, ("native",)) == ProblemCode.MISSING_CODEC
    assert code(codestream, about, ()) == ProblemCode.MISSING_CODEC
    for uid in ("1.2.840.10008.1.2.4.100", "1.2.3"):
        assert code(codestream, spec(stored, uid, 12)) == ProblemCode.UNSUPPORTED_SYNTAX


def test_unknown_backends_are_a_wrong_call(frame):
    with pytest.raises(OptionError, match="there are native, imagecodecs, pylibjpeg"):
        decode_frame(*frame[:2], ("gdcm",))


def test_threads_share_decoders(frame):
    codestream, about, stored = frame
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda _: decode_frame(codestream, about, PREFER), range(40))
        assert all(np.array_equal(decoded, stored) for decoded, _ in done)


@pytest.mark.parametrize("change", [-2, -1, 1, 2, 100])
@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, synth.EXPLICIT_BE, synth.DEFLATED_FRAME])
def test_words_of_another_length(spec, syntax, change):
    stored = synth.phantom(np.random.default_rng(0), (1, 5, 7), 8, 8)[0]
    data = stored.tobytes()
    data = data[:change] if change < 0 else data + b"\0" * change
    if syntax == synth.DEFLATED_FRAME:
        data = synth.encode(np.frombuffer(data, np.uint8), syntax, 8)
    if change == 1:  # the padding of an odd length
        assert np.array_equal(decode_frame(data, spec(stored, syntax), PREFER)[0], stored)
    else:
        assert code(data, spec(stored, syntax)) == ProblemCode.DECODE_FAILED


def test_a_deflated_frame_keeps_to_its_size(spec):
    stored = synth.phantom(np.random.default_rng(0), (1, 8, 8), 8, 8)[0]
    bomb = synth.encode(np.zeros(2**26, np.uint8), synth.DEFLATED_FRAME, 8)
    good = synth.encode(stored, synth.DEFLATED_FRAME, 8)
    for frame in (bomb, good[:-2], b"\xff" * 30, b""):
        assert code(frame, spec(stored, synth.DEFLATED_FRAME)) == ProblemCode.DECODE_FAILED


# ------------------------------------------------------------------ what a decoder says it reads


def test_what_is_not_read_is_said(spec):
    stored = synth.phantom(np.random.default_rng(0), (1, 19, 23), 32, 30)[0]
    frame = jpeg2000_encoder.encode(stored[..., None], 30, signed=False, transform=False)
    about = spec(stored, synth.J2K, 30)
    with pytest.raises(BadInstanceError, match="imagecodecs: reads samples of 1 to 29 bits, not"):
        decode_frame(frame, about, PREFER)


@pytest.mark.parametrize(
    ("bits", "samples", "signed", "said"),
    [(8, 1, False, ""), (8, 3, False, ""), (12, 1, False, ""), (7, 1, False, "of 8 to 12 bits"),
     (13, 1, False, "of 8 to 12 bits"), (8, 1, True, "with a sign"), (8, 4, False, "4 samples")],
)  # fmt: skip
def test_why_not(bits, samples, signed, said):
    reads = Reads(frozenset(), (8, 12))
    why = reads.why_not(bits, samples, signed=signed)
    assert said in why
    assert bool(why) == bool(said)


# -------------------------------------------------------------------- batches, and where they go


@pytest.mark.parametrize("syntax", [synth.EXPLICIT_LE, *synth.LOSSLESS], ids=syntaxes.NAMES.get)
@pytest.mark.parametrize(
    ("allocated", "bits", "signed"), [(8, 8, False), (16, 12, True), (16, 16, True), (16, 8, False)]
)
def test_a_batch_goes_where_it_should(spec, syntax, allocated, bits, signed):
    rng = np.random.default_rng(0)
    stored = synth.phantom(rng, (4, 19, 23), allocated, bits, signed=signed)
    frames = [
        (one.tobytes() if syntax == synth.EXPLICIT_LE else synth.encode(one, syntax, bits),
         spec(one, syntax, bits))
        for one in stored
    ]  # fmt: skip
    frames[2] = frames[2][0][:30], frames[2][1]
    out = np.full_like(stored, 3)
    results = list(decode_batch(frames, out, Decoding(PREFER)))
    assert [bool(each.error) for each in results] == [False, False, True, False]
    assert results[2].error.code in (ProblemCode.DECODE_FAILED, ProblemCode.CODESTREAM_MISMATCH)
    for n in (0, 1, 3):
        assert np.shares_memory(results[n].stored, out)
        assert np.array_equal(out[n], stored[n])


def test_codecs_write_straight_into_the_batch(spec, monkeypatch):
    """Without a copy, where the codec's words are as wide as the dataset's."""
    given = []
    real = registry.backend("imagecodecs").decode

    def decode(self, frame, about, out=None):
        raw = real(frame, about, out)
        given.append(out is not None and np.shares_memory(raw, out))
        return raw

    monkeypatch.setattr(type(registry.backend("imagecodecs")), "decode", decode)
    stored = synth.phantom(np.random.default_rng(0), (1, 19, 23))[0]
    for syntax in (synth.J2K, synth.HTJ2K, synth.JPEG_LS, synth.JPEG_LOSSLESS, synth.JPEG_XL):
        frame = synth.encode(stored, syntax, 12), spec(stored, syntax, 12)
        (done,) = decode_batch([frame], [np.empty_like(stored)], Decoding(PREFER))
        assert np.array_equal(done.stored, stored)
    assert given == [True] * 5


# --------------------------------------------------------------- decoders of other distributions


ZEROS = """
import numpy as np
from sansfilm.decode.contract import Reads
class Decoder:
    name, requires = "zeros", "nothing"
    reads = (Reads(frozenset({"1.2.840.10008.1.2.4.80"}), (2, 16)),)
    def missing(self, transfer_syntax):
        return ""
    def decode(self, frame, spec, out=None):
        return np.zeros(spec.shape, spec.container)
"""


def test_another_distribution_brings_a_decoder(spec, plugins):
    plugins(zeros=ZEROS, torn="import nowhere", odd="class Decoder: pass")
    stored = synth.phantom(np.random.default_rng(0), (1, 19, 23))[0]
    frame, about = synth.encode(stored, synth.JPEG_LS, 12), spec(stored, synth.JPEG_LS, 12)
    assert decode_frame(frame, about, PREFER)[1] == "imagecodecs"
    decoded, name = decode_frame(frame, about, ("zeros", *PREFER))
    assert name == "zeros"
    assert not decoded.any()
    assert registry.names() == (*PREFER, "odd", "torn", "zeros")
    states = {row["decoder"]: row["state"] for row in registry.table(PREFER)
              if row["uid"] == synth.JPEG_LS}  # fmt: skip
    assert states == {"imagecodecs": "used", "zeros": "not preferred"}
    assert registry.broken(PREFER) == {
        "odd": "odd is no FrameDecoder",
        "torn": "torn cannot be loaded: ModuleNotFoundError: No module named 'nowhere'",
    }
    with pytest.raises(BadInstanceError, match="torn cannot be loaded") as caught:
        decode_frame(frame, about, ("torn",))
    assert caught.value.code == ProblemCode.MISSING_CODEC


def test_nobody_replaces_one_of_ours(plugins):
    plugins(native=ZEROS)
    assert type(registry.backend("native")).__module__ == "sansfilm.decode.native"
