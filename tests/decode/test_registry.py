"""Which decoder is used, in which order, and what is said when there is none."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import synth

from sansfilm.decode import registry, syntaxes
from sansfilm.decode.contract import FrameDecoder
from sansfilm.errors import BadInstanceError, FrameDecodeError, OptionError, ProblemCode
from sansfilm.options import Options

PREFER = Options().prefer


@pytest.fixture
def frame(spec):
    """Give a JPEG 2000 frame: codestream, description, stored values."""
    stored = synth.phantom(np.random.default_rng(0), (1, 32, 40))[0]
    return synth.encode(stored, synth.J2K, 12), spec(stored, synth.J2K, 12), stored


def code(frame: bytes, about, prefer=PREFER) -> ProblemCode:
    with pytest.raises(BadInstanceError) as caught:
        registry.decode_frame(frame, about, prefer)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    return caught.value.code


@pytest.mark.parametrize("name", PREFER)
def test_backends_keep_the_contract(name):
    decoder = registry.backend(name)
    assert isinstance(decoder, FrameDecoder)
    assert decoder.name == name
    assert decoder.transfer_syntaxes <= set(syntaxes.NAMES)
    assert decoder is registry.backend(name)
    for uid in (*syntaxes.NAMES, "1.2.3"):
        missing = decoder.missing(uid)
        assert bool(missing) is (uid not in decoder.transfer_syntaxes)


def test_every_syntax_has_a_decoder():
    rows = registry.table(PREFER)
    assert [row["uid"] for row in rows] == list(syntaxes.NAMES)
    assert all(row["decoders"] and not row["missing"] for row in rows)
    assert {"imagecodecs, pylibjpeg"} == {
        row["decoders"] for row in rows if row["uid"] in syntaxes.JPEG_2000 | syntaxes.HTJ2K
    }


def test_preference_decides(frame):
    codestream, about, stored = frame
    for prefer in (("pylibjpeg", "imagecodecs"), ("imagecodecs", "pylibjpeg")):
        decoded, name = registry.decode_frame(codestream, about, prefer)
        assert name == prefer[0]
        assert np.array_equal(decoded, stored)


def test_the_second_decoder_steps_in(frame, monkeypatch):
    def refuse(*_):
        raise FrameDecodeError("no")

    codestream, about, stored = frame
    monkeypatch.setattr(type(registry.backend("imagecodecs")), "decode", refuse)
    decoded, name = registry.decode_frame(codestream, about, PREFER)
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
        registry.decode_frame(*frame[:2], ("gdcm",))


def test_threads_share_decoders(frame):
    codestream, about, stored = frame
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda _: registry.decode_frame(codestream, about, PREFER), range(40))
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
        assert np.array_equal(registry.decode_frame(data, spec(stored, syntax), PREFER)[0], stored)
    else:
        assert code(data, spec(stored, syntax)) == ProblemCode.DECODE_FAILED


def test_a_deflated_frame_keeps_to_its_size(spec):
    stored = synth.phantom(np.random.default_rng(0), (1, 8, 8), 8, 8)[0]
    bomb = synth.encode(np.zeros(2**26, np.uint8), synth.DEFLATED_FRAME, 8)
    good = synth.encode(stored, synth.DEFLATED_FRAME, 8)
    for frame in (bomb, good[:-2], b"\xff" * 30, b""):
        assert code(frame, spec(stored, synth.DEFLATED_FRAME)) == ProblemCode.DECODE_FAILED
