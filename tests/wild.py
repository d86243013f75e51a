"""A decoder that misbehaves in every way there is, for the tests of what guards against it.

`SOURCE` is a module for the fixture `plugins`. The decoder reads JPEG-LS as imagecodecs does, but
for frames that `poisoned` has given a comment with a word: what the word says, it does.
"""

import struct

KILLS = {
    "segfault": "crashed: SIGSEGV", "abort": "crashed: SIGABRT", "exit": "with code 7",
    "nonsense": "answered nonsense", "native hang": "took too long", "sleep": "took too long",
}  # fmt: skip
"""Words that cost the process, and what is said of the frame."""
REFUSED = {
    "allocate": "more memory than a frame may have", "native allocate": "no memory",
    "shape": "expected uint16 (12, 10)", "dtype": "decoded float64", "key error": "KeyError",
    "none": "AttributeError", "exception": "the decoder failed: Odd",
}  # fmt: skip
"""Words that cost the frame only."""

SOURCE = """
import ctypes, os, stat, time
import numpy as np
from sansfilm.decode.contract import Reads
from sansfilm.decode.imagecodecs_backend import ImagecodecsDecoder
from sansfilm.errors import FrameDecodeError

class Odd(Exception):
    pass

def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False

class Decoder:
    name, requires = "wild", "nothing"
    reads = (Reads(frozenset({"1.2.840.10008.1.2.4.80"}), (2, 16)),)
    good = ImagecodecsDecoder()

    def missing(self, transfer_syntax):
        return ""

    def decode(self, frame, spec, out=None):
        frame = bytes(frame)
        if not frame.startswith(b"\\xff\\xd8\\xff\\xfe"):
            return self.good.decode(frame, spec, out)
        word = frame[6 : 4 + int.from_bytes(frame[4:6], "big")].decode()
        if word == "killed once" and self.seen(word):
            return self.good.decode(frame, spec, out)
        return getattr(self, word.replace(" ", "_"))(spec)

    def seen(self, word):
        path = f"{__file__}.{word}"
        return os.path.exists(path) or open(path, "w").close()

    def killed(self, spec):
        os.kill(os.getpid(), 9)

    killed_once = killed

    def segfault(self, spec):
        ctypes.string_at(0)

    def abort(self, spec):
        os.abort()

    def exit(self, spec):
        os._exit(7)

    def nonsense(self, spec):
        (link,) = (fd for fd in range(3, 100) if is_socket(fd))
        os.write(link, b"{}\\n")
        return np.zeros(spec.shape, spec.container)

    def sleep(self, spec):
        time.sleep(1000)

    def native_hang(self, spec):
        ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock

    def allocate(self, spec):
        return np.ones(2**37)

    def native_allocate(self, spec):
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        for _ in range(100):
            if not libc.malloc(2**26):
                raise FrameDecodeError("no memory")

    def shape(self, spec):
        return np.zeros((3, 3), spec.container)

    def dtype(self, spec):
        return np.zeros(spec.shape, float)

    def key_error(self, spec):
        raise KeyError("x")

    def none(self, spec):
        return None

    def exception(self, spec):
        raise Odd
"""


def poisoned(frame: bytes, word: str) -> bytes:
    """Return a JPEG codestream with a comment in front."""
    return frame[:2] + b"\xff\xfe" + struct.pack(">H", len(word) + 2) + word.encode() + frame[2:]
