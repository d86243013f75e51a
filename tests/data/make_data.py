"""Build tests/data from a folder of originals, and prove the pixels equal on the way.

    python tests/data/make_data.py ORIGINALS

ORIGINALS holds the upstream files and a MANIFEST.csv (file, repo, path_in_repo, licence, ...).
Two series are encoded again without loss; every other file is a copy, byte for byte. What was made
is written down in checksums.csv. The pixel checksums there come from the uncompressed originals
where there are any, read by pydicom: they know nothing of the decoders of this project.

The packages of the test group are enough: pyjpegls, which writes the JPEG-LS, comes with highdicom.
"""

import csv
import hashlib
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

HERE = Path(__file__).parent

# What may be copied into a repository under Apache-2.0 without a word to anybody.
LICENCES = (
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "MIT",
    "MIT (pydicom LICENSE)",
    "MIT (repo; NEMA WG04 images)",
)

MALFORMED = (
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "MR_truncated.dcm",
    "UN_sequence.dcm",
    "badVR.dcm",
    "empty_charset_LEI.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "no_meta.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
    "reportsi_with_empty_number_tags.dcm",
)
SYNTAX_CT = "compressed/one-ct-all-syntaxes/CTImage.dcm_"
ASL = "enhanced/philips-asl-"


@dataclass(frozen=True)
class Piece:
    """One file to make.

    `source` and `oracle` are relative to the originals, `target` is relative to this folder.
    `oracle` is an uncompressed file of the same pixels, `recode` the syntax to encode to.
    """

    source: str
    target: str
    oracle: str = ""
    recode: UID | None = None


def pieces() -> list[Piece]:
    """Return everything that belongs into the folder, in a fixed order."""
    made = []
    for number in range(10, 290, 10):
        source = f"ct-series/philips-head-5mm/I{number}"
        made.append(Piece(source, f"ct-head-j2k/I{number}", source, JPEG2000Lossless))
    for number in range(210, 270, 10):
        source = f"gantry-tilt/philips-head-tilt-minus18.5/I{number}"
        made.append(Piece(source, f"ct-tilt-jpegls/I{number}", source, JPEGLSLossless))
    for number in range(1, 41):
        name = f"1901_{number:04}.dcm"
        made.append(Piece(f"{ASL}classic-40/{name}", f"mr-asl/{name}"))
    name = "1901_WIP_3DpCASL_real.dcm"
    made.append(Piece(f"{ASL}enhanced/{name}", f"mr-asl-enhanced/{name}"))
    for number in range(1, 5):
        name = f"{number:03}.dcm"
        made.append(Piece(f"mr-series/hitachi-anat-4/{name}", f"mr-hitachi/{name}"))

    plain = SYNTAX_CT + "LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"
    for syntax, name in (
        ("JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90", "jpeg2000.dcm"),
        ("JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80", "jpegls.dcm"),
        ("JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70", "jpeg-lossless.dcm"),
        ("RLELosslessTransferSyntax_1.2.840.10008.1.2.5", "rle.dcm"),
    ):
        made.append(Piece(f"{SYNTAX_CT}{syntax}.dcm", f"ct-syntaxes/{name}", plain))
    made.append(Piece("htj2k/wg04-htj2k/CT1_JPH", "htj2k/CT1_JPH", "compressed/wg04/REF/CT1_UNC"))

    made += (Piece(f"malformed/pydicom/{name}", f"malformed/{name}") for name in MALFORMED)
    for name in (
        "ExplVR_BigEndNoMeta.dcm",
        "ExplVR_LitEndNoMeta.dcm",
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_expb.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "image_dfl.dcm",
        "liver_expb_1frame.dcm",
    ):
        same = "endian-deflated/pydicom/MR_small.dcm" if name.startswith("MR_small") else ""
        made.append(Piece(f"endian-deflated/pydicom/{name}", f"endian-deflated/{name}", same))
    name = "seg_image_ct_binary.dcm"
    made.append(Piece(f"seg/highdicom-ct-seg/{name}", f"seg/{name}"))
    name = "examples_ybr_color.dcm"
    made.append(Piece(f"us-cine/us-30frames-ybr422/{name}", f"us-cine/{name}"))
    made.append(Piece("rt/pydicom/rtdose.dcm", "rt/rtdose.dcm"))

    # Conversions made upstream: another program's word on geometry, kept away from the DICOM.
    name = "REF_1901_WIP_3DpCASL_enh_real.nii.gz"
    made.append(Piece(f"{ASL}enhanced/{name}", "reference/mr-asl.nii.gz"))
    name = "REF_001_ground_truth.nii.gz"
    made.append(Piece(f"mr-series/hitachi-anat-4/{name}", "reference/mr-hitachi.nii.gz"))
    return made


def stored_pixels(path: Path) -> NDArray[np.generic]:
    """Return the stored values of a file, little endian, as pydicom reads them.

    Colours are not converted.
    """
    dataset = pydicom.dcmread(path)
    values, _ = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, raw=True)
    return values.astype(values.dtype.newbyteorder("<"))


def digest(values: NDArray[np.generic]) -> str:
    """Return the SHA-256 of the values in C order."""
    return hashlib.sha256(values.tobytes()).hexdigest()


def with_transfer_syntax(head: bytes, syntax: UID) -> bytes:
    """Return preamble, file meta and dataset up to Pixel Data, with another transfer syntax.

    The elements of group 2 are walked over and not parsed anew, so that all others stay as they
    are, down to their padding.
    """
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    at, made = 132, head[:132]
    while head[at : at + 2] == b"\x02\x00":
        long_form = head[at + 4 : at + 6] in (b"OB", b"UN")
        start = at + (12 if long_form else 8)
        length = int.from_bytes(head[start - (4 if long_form else 2) : start], "little")
        if head[at + 2 : at + 4] == b"\x10\x00":
            made += head[at : at + 6] + len(value).to_bytes(2, "little") + value
            grown = len(value) - length
        else:
            made += head[at : start + length]
        at = start + length
    group_length = int.from_bytes(made[140:144], "little") + grown
    return made[:140] + group_length.to_bytes(4, "little") + made[144:] + head[at:]


def recode(source: Path, target: Path, syntax: UID) -> None:
    """Write `source` in another transfer syntax; only that element and Pixel Data change."""
    raw = source.read_bytes()
    dataset = pydicom.dcmread(source)
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    element = dataset.get_item("PixelData")
    start = element.value_tell - 12  # tag, VR and length, in the explicit form
    assert raw[start : start + 6] == b"\xe0\x7f\x10\x00OW"

    frames = int(dataset.get("NumberOfFrames", 1))
    streams = [get_encoder(syntax).encode(dataset, index=index) for index in range(frames)]
    # One fragment for a frame and an empty Basic Offset Table: what most hospitals store.
    pixels = encapsulate(streams, fragments_per_frame=1, has_bot=False)
    target.write_bytes(
        with_transfer_syntax(raw[:start], syntax)
        + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
        + pixels
        + b"\xfe\xff\xdd\xe0\0\0\0\0"
        + raw[element.value_tell + element.length :]
    )
    prove_recoded(source, target, syntax)


def prove_recoded(source: Path, target: Path, syntax: UID) -> None:
    """Check header and pixels of a file made by `recode`, with imagecodecs and with pydicom."""
    before, after = pydicom.dcmread(source), pydicom.dcmread(target)
    wanted = before.pixel_array
    decode = imagecodecs.jpeg2k_decode if syntax == JPEG2000Lossless else imagecodecs.jpegls_decode
    streams = generate_frames(after.PixelData, number_of_frames=int(after.get("NumberOfFrames", 1)))
    found = np.stack([decode(stream) for stream in streams]).reshape(wanted.shape)
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted), target
    assert np.array_equal(after.pixel_array, wanted), target

    assert after.file_meta.TransferSyntaxUID == syntax
    after.file_meta.TransferSyntaxUID = before.file_meta.TransferSyntaxUID
    after.file_meta.FileMetaInformationGroupLength = before.file_meta.FileMetaInformationGroupLength
    del before.PixelData, after.PixelData
    assert before == after, target
    assert before.file_meta == after.file_meta, target


def pixel_facts(made: Path, oracle: Path | None) -> tuple[str, str, str, str]:
    """Return shape, type and SHA-256 of the stored pixels, and a note where there is none."""
    if made.suffix == ".gz":
        return "", "", "", "not DICOM"
    try:
        dataset = pydicom.dcmread(made, stop_before_pixels=True, force=True)
    except Exception:  # pydicom raises whatever a broken file provokes
        return "", "", "", "pydicom cannot read it"
    if dataset.file_meta.get("TransferSyntaxUID") == JPEGBaseline8Bit:
        return "", "", "", "lossy, decoders may differ by rounding"
    try:
        values = stored_pixels(made)
    except Exception:
        if oracle is None:
            return "", "", "", "pydicom finds no pixels or cannot decode them"
        # JPEG lossless: what pydicom would use for it is GPL, so another library has to do.
        values = stored_pixels(oracle)
        assert dataset.file_meta.TransferSyntaxUID == JPEGLosslessSV1, made
        (stream,) = generate_frames(pydicom.dcmread(made).PixelData, number_of_frames=1)
        assert np.array_equal(imagecodecs.ljpeg_decode(stream).view(values.dtype), values), made
    if oracle is not None:
        assert np.array_equal(values, stored_pixels(oracle)), made
        assert values.dtype == stored_pixels(oracle).dtype, made
    return "x".join(map(str, values.shape)), values.dtype.name, digest(values), ""


def main(originals: Path) -> None:
    """Make every file anew and write checksums.csv."""
    with (originals / "MANIFEST.csv").open(newline="") as file:
        manifest = {row["file"]: row for row in csv.DictReader(file)}
    wanted = pieces()
    for folder in sorted({Path(piece.target).parts[0] for piece in wanted}):
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()

    rows = []
    for piece in wanted:
        origin = manifest[piece.source]
        assert origin["licence"] in LICENCES, piece
        source, target = originals / piece.source, HERE / piece.target
        if piece.recode is not None:
            recode(source, target, piece.recode)
        else:
            target.write_bytes(source.read_bytes())
        oracle = originals / piece.oracle if piece.oracle else None
        shape, dtype, pixels, note = pixel_facts(target, oracle)
        data = target.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        upstream = f"{origin['repo']}: {origin['path_in_repo']}"
        rows.append([piece.target, len(data), sha256, shape, dtype, pixels, upstream, note])

    with (HERE / "checksums.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["file", "bytes", "sha256", "shape", "dtype", "pixels_sha256", "origin", "note"]
        )
        writer.writerows(rows)
    print(f"{len(rows)} files, {sum(int(row[1]) for row in rows) / 1e6:.2f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/data/make_data.py ORIGINALS")
    warnings.simplefilter("ignore")  # pydicom has much to say about the malformed files
    main(Path(sys.argv[1]))
