"""The conformance sets and their references: which file is held against what, and how closely.

`outcome` of a case is "equal", "within" (the tolerance of its standard, or the loss of its file),
"other size", "differs", or the code of a problem. Nothing here is sansfilm's but the decoding
itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jpeg_ls
import numpy as np
import synth

from sansfilm.decode.codestream import sniff
from sansfilm.decode.frames import decode_frame
from sansfilm.errors import BadInstanceError
from sansfilm.model import FileRef, FrameSpec
from sansfilm.options import Budgets, Options
from sansfilm.planning.headers import read_frames
from sansfilm.planning.pixels import read_frame

PREFER = Options().prefer
SECOND = ("pylibjpeg",)


@dataclass(frozen=True)
class Case:
    """One file against one reference: equal, or with errors up to `peak` and `mse`.

    Both are read out of the folder of the collection.
    """

    group: str
    name: str
    image: Callable[[Path], np.ndarray]
    reference: Callable[[Path], np.ndarray]
    peak: float = 0
    mse: float = 0

    def outcome(self, root: Path) -> str:
        """Decode and compare."""
        try:
            image = self.image(root)
        except BadInstanceError as exc:
            return str(exc.code)
        reference = self.reference(root)
        if image.shape != reference.shape:
            return "other size"
        error = np.abs(image.astype(float) - reference)
        if not error.any():
            return "equal"
        within = error.max() <= self.peak and np.mean(error**2) <= self.mse
        return "within" if within else "differs"


# ------------------------------------------------------------------------------------ decoding


@cache
def instance(path: Path, prefer: tuple[str, ...] = PREFER) -> np.ndarray:
    """Decode the one frame of a DICOM file to stored values."""
    (frame,) = read_frames(FileRef(str(path), path.stat().st_size), Budgets())
    return decode_frame(read_frame(frame)[0], frame.spec, prefer)[0]


def bare(path: Path, syntax: str, photometric: str, prefer: tuple[str, ...]) -> np.ndarray:
    """Decode a codestream with a dataset that says of it what it says itself."""
    frame = path.read_bytes()
    found = sniff(frame, FrameSpec(syntax, 1, 1, 1, 16, 16, 15, 0, ""))
    allocated = 8 if found.precision <= 8 else 16
    spec = FrameSpec(syntax, found.rows, found.columns, found.components, allocated,
                     found.precision, found.precision - 1, int(found.signed),
                     photometric if found.components > 1 else "MONOCHROME2")  # fmt: skip
    return decode_frame(frame, spec, prefer)[0]


def file(relative: str, prefer: tuple[str, ...] = PREFER) -> Callable[[Path], np.ndarray]:
    return lambda root: instance(root / relative, prefer)


def stream(
    relative: str,
    syntax: str,
    component: int | None = None,
    *,
    photometric: str = "RGB",
    prefer: tuple[str, ...] = PREFER,
) -> Callable[[Path], np.ndarray]:
    def decode(root: Path) -> np.ndarray:
        image = bare(root / relative, syntax, photometric, prefer)
        return image if component is None or image.ndim == 2 else image[..., component]

    return decode


# ---------------------------------------------------------------------------------- references


def pnm(relative: str) -> Callable[[Path], np.ndarray]:
    def read(root: Path) -> np.ndarray:
        kind, columns, rows, _, data = (root / relative).read_bytes().split(maxsplit=4)
        shape = (int(rows), int(columns), 3) if kind == b"P6" else (int(rows), int(columns))
        return np.frombuffer(data[-int(np.prod(shape)) :], np.uint8).reshape(shape)

    return read


def pgx(relative: str) -> Callable[[Path], np.ndarray]:
    """Read a component of the reference: sign and bits, columns and rows, then bytes."""

    def read(root: Path) -> np.ndarray:
        head, _, data = (root / relative).read_bytes().partition(b"\n")
        *_, columns, rows = head.split()
        sign, size = "i" if b"-" in head else "u", int(rows) * int(columns)
        return np.frombuffer(data[-size:], f"{sign}1").reshape(int(rows), int(columns))

    return read


def raw(root: Path) -> np.ndarray:
    path = root / TILE / "Explicit_VR_Little_Endian-GRAYSCALE-16.raw"
    return np.fromfile(path, "<u2").reshape(240, 240)


def raw_of_12_bits(root: Path) -> np.ndarray:
    return raw(root) >> 4


def with_pyjpegls(relative: str) -> Callable[[Path], np.ndarray]:
    def read(root: Path) -> np.ndarray:
        data, about = jpeg_ls.decode_buffer((root / relative).read_bytes())
        return np.frombuffer(bytes(data), np.uint8).reshape(about["height"], about["width"], 3)

    return read


# --------------------------------------------------------------------------------------- WG04

WG04, HT = "compressed/wg04", "htj2k/wg04-htj2k"
ORIGINAL = {"CT1": f"{WG04}/REF/CT1_UNC"} | {
    name: f"{WG04}/J2KR/{name}_J2KR" for name in ("MR1", "NM1", "US1", "VL1")
}
"""The uncompressed image where it is there, else its JPEG 2000, which is lossless."""
LOSS = {
    "JLSN/CT1": (4, 8), "JLSN/MR1": (4, 8), "J2KI/CT1": (400, 1600), "J2KI/MR1": (400, 2600),
    "J2KI/NM1": (110, 55), "JPLY/MR1": (130, 240), "JPLY/NM1": (40, 14),
}  # fmt: skip
"""Peak and mean square of the loss of these files, as seen, and rounded up."""


def _wg04() -> list[Case]:
    names = {
        "J2KR": ("CT1",), "JLSL": ("CT1", "MR1"), "JPLL": ("CT1", "MR1"), "RLE": ("CT1",),
        "JLSN": ("CT1", "MR1"), "J2KI": ("CT1", "MR1", "NM1"), "JPLY": ("MR1", "NM1"),
    }  # fmt: skip
    cases = []
    for codec, images in names.items():
        for name in images:
            peak, mse = LOSS.get(f"{codec}/{name}", (0, 0))
            path = f"{WG04}/{codec}/{name}_{codec}"
            cases.append(Case("WG04", f"{name}_{codec}", file(path), file(ORIGINAL[name]), peak,
                              mse))  # fmt: skip
    for name, original in ORIGINAL.items():
        path = f"{HT}/{name}_JPH"
        cases.append(Case("WG04", f"{name}_JPH", file(path), file(original)))
    both = {f"{n}_{c}": f"{WG04}/{c}/{n}_{c}" for c in ("J2KR", "J2KI") for n in ("MR1", "NM1")}
    both |= {f"{n}_J2KR": f"{WG04}/J2KR/{n}_J2KR" for n in ("US1", "VL1")}
    both |= {"VL2_JPH": f"{HT}/VL2_JPH", "CT1_J2KI": f"{WG04}/J2KI/CT1_J2KI"}
    cases += [Case("WG04", f"{name}, two decoders", file(path), file(path, SECOND))
              for name, path in both.items()]  # fmt: skip
    return cases


# ------------------------------------------------------------- JPEG 2000, T.803 tables C.1 to C.7

J2K = "conformance-j2k"
EXACT = (0, 0)
CLASS1 = {
    "p0_01_0": EXACT, "p0_02_0": EXACT, "p0_03_0": EXACT, "p0_09_0": EXACT, "p0_10_0": EXACT,
    "p0_10_1": EXACT, "p0_10_2": EXACT, "p0_11_0": EXACT, "p0_14_0": EXACT, "p0_14_1": EXACT,
    "p0_14_2": EXACT, "p0_16_0": EXACT, "p1_01_0": EXACT, "p1_06_0": (2, 0.6),
    "p1_06_1": (2, 0.6), "p1_06_2": (2, 0.6), "p1_07_1": EXACT,
}  # fmt: skip
CLASS0 = {
    "p0_01": EXACT, "p0_02": EXACT, "p0_03r0": EXACT, "p0_03r1": EXACT, "p0_09": (4, 1.47),
    "p0_10": (10, 2.84), "p0_11": EXACT, "p0_14": EXACT, "p0_16": EXACT, "p1_01": EXACT,
}  # fmt: skip
"""Of the first component; its error may be larger, so that a decoder may be simple."""


def _jpeg_2000() -> list[Case]:
    cases = []
    for number, table in ((1, CLASS1), (0, CLASS0)):
        for name, tolerance in table.items():
            component = int(name[6:]) if number else 0
            image = stream(f"{J2K}/input/{name[:5]}.j2k", synth.J2K, component)
            reference = pgx(f"{J2K}/reference/c{number}{name}.pgx")
            cases.append(Case(f"JPEG 2000, class {number}", name, image, reference, *tolerance))
    for name in ("p0_12", "p0_13"):
        path = f"{J2K}/input/{name}.j2k"
        cases.append(Case("JPEG 2000, class 1", f"{name}, two decoders", stream(path, synth.J2K),
                          stream(path, synth.J2K, prefer=SECOND)))  # fmt: skip
    return cases


# ---------------------------------------------------------------- JPEG-LS (T.87), JPEG (T.83), tile

T87 = "conformance-jls/t8"
T83 = "codestreams/itu-samples"
TILE = "codestreams/one-tile-all-codecs"


def _jpeg_ls() -> list[Case]:
    references = {
        "t8c0e0": "test8.ppm", "t8c1e0": "test8.ppm", "t8c2e0": "test8.ppm", "t8sse0": "test8.ppm",
        "t8sse3": "test8.ppm", "t8nde0": "test8bs2.pgm", "t8nde3": "test8bs2.pgm",
    }  # fmt: skip
    return [
        Case("JPEG-LS", name, stream(f"{T87}/{name}.jls", synth.JPEG_LS),
             pnm(f"{T87}/{reference}"), near := int(name[-1]), near**2)
        for name, reference in references.items()
    ]  # fmt: skip


def _nothing(root: Path) -> np.ndarray:
    """Be the reference of what has none here."""
    return np.empty(0)


def _jpeg() -> list[Case]:
    cases = [
        Case("JPEG", name, stream(f"{T83}/{name}.JPG", syntax), _nothing)
        for names, syntax in (
            (("A1", "B1"), synth.JPEG_BASELINE), (("C1", "C2", "E1", "E2"), synth.JPEG_EXTENDED),
            (("O1",), synth.JPEG_LOSSLESS_ANY),
        ) for name in names
    ]  # fmt: skip
    path = f"{T83}/oj36.j2k"
    other = stream(path, synth.J2K, prefer=SECOND)
    return [*cases, Case("JPEG", "oj36, two decoders", stream(path, synth.J2K), other)]


def _tile() -> list[Case]:
    jls = f"{TILE}/JPEG-LS_Lossless_Image_Compression-RGB-8.jls"
    grey, colour = "-GRAYSCALE-16", stream(jls, synth.JPEG_LS)
    lossy = f"{TILE}/JPEG_2000_Image_Compression{grey}.jp2"
    table = {
        f"JPEG-LS_Lossless_Image_Compression{grey}.jls": (synth.JPEG_LS, raw, EXACT),
        f"JPEG-LS_Lossy_(Near-Lossless)_Image_Compression{grey}.jls":
            (synth.JPEG_LS_NEAR, raw, (1, 1)),
        f"JPEG_2000_Image_Compression_(Lossless_Only){grey}.jp2": (synth.J2K, raw, EXACT),
        f"JPEG_2000_Image_Compression{grey}.jp2": (synth.J2K_LOSSY, raw, (30, 42)),
        f"JPEG_Lossless,_Non-Hierarchical_(Process_14){grey}.jpg":
            (synth.JPEG_LOSSLESS_ANY, raw, EXACT),
        "JPEG_Extended_(Process_2_and_4)-GRAYSCALE-12.jpg":
            (synth.JPEG_EXTENDED, raw_of_12_bits, (10, 4)),
        "JPEG_Baseline_(Process_1)-RGB-8.jpg": (synth.JPEG_BASELINE, colour, (8, 0.5)),
    }  # fmt: skip
    cases = [
        Case("one tile", name[:-4], stream(f"{TILE}/{name}", syntax), reference, *most)
        for name, (syntax, reference, most) in table.items()
    ]  # fmt: skip
    ybr = "JPEG_Baseline_(Process_1)-YBR-8"
    return [
        *cases,
        Case("one tile", ybr, stream(f"{TILE}/{ybr}.jpg", synth.JPEG_BASELINE,
                                     photometric="YBR_FULL_422"), colour, 17, 2.5),
        Case("one tile", "JPEG-LS_Lossless_Image_Compression-RGB-8, two decoders", colour,
             with_pyjpegls(jls)),
        Case("one tile", "JPEG_2000_Image_Compression-GRAYSCALE-16, two decoders",
             stream(lossy, synth.J2K_LOSSY), stream(lossy, synth.J2K_LOSSY, prefer=SECOND)),
    ]  # fmt: skip


CASES = [*_wg04(), *_jpeg_2000(), *_jpeg_ls(), *_jpeg(), *_tile()]
