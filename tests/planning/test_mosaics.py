"""Mosaics: each tile is the slice that it was made of, or there is a Problem that says why."""

import gzip
import subprocess
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import siemens
import synth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sansfilm.errors import Problem, ProblemCode
from sansfilm.model import Frame
from sansfilm.options import Options
from sansfilm.tasks import stored_pixels

with warnings.catch_warnings(action="ignore"):  # it calls itself experimental
    from nibabel.nicom import ascconv, csareader, dicomwrappers

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
THEIRS = Path(nibabel.__file__).parent / "nicom" / "tests" / "data"
FOREVER = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def made_of(folder, slices=5, **more) -> synth.Synth:
    sizes = {"rows": 6, "columns": 8, "modality": "MR", "intercept": 0.0}
    return synth.series(folder / "slices", slices=slices, **sizes | more)


def check(frames, made, *, backwards=False) -> None:
    """Each frame shows its slice, and lies where that lies."""
    count = len(made.stored)
    frames = [frames] if isinstance(frames, Frame) else frames
    assert [(frame.number, frame.of) for frame in frames] == [
        (n + 1, count) for n in range(count)
    ]  # fmt: skip
    for n, frame in enumerate(frames):
        z = count - 1 - n if backwards else n
        np.testing.assert_array_equal(stored_pixels(Options(), frame), made.stored[z])
        place = (made.affine_lps @ [z, 0, 0, 1])[:3]
        np.testing.assert_allclose(frame.position, place, atol=1e-5)


@settings(max_examples=25, **FOREVER)
@given(
    slices=st.integers(1, 26), rows=st.integers(1, 5), columns=st.integers(1, 7),
    backwards=st.booleans(), orientation=st.sampled_from([(1, 0, 0, 0, 1, 0), OBLIQUE]),
    spacing=st.tuples(*[st.floats(0.1, 9).map(lambda size: round(size, 3))] * 3),
)  # fmt: skip
def test_tiles_are_slices(tmp_path, read, slices, rows, columns, backwards, orientation, spacing):
    made = synth.series(
        tmp_path / "slices", slices=slices, rows=rows, columns=columns, modality="MR",
        orientation=orientation, spacing=spacing,
    )  # fmt: skip
    siemens.mosaic(made, tmp_path / "1.dcm", backwards=backwards)
    check(read(tmp_path / "1.dcm"), made, backwards=backwards)


@pytest.mark.parametrize("form", [1, 2])
@pytest.mark.parametrize("syntax", [synth.IMPLICIT_LE, synth.EXPLICIT_BE, synth.JPEG_LS])
@pytest.mark.parametrize("backwards", [False, True])
def test_by_the_csa_header_alone(tmp_path, read, form, syntax, backwards):
    made = made_of(tmp_path, orientation=OBLIQUE, transfer_syntax=syntax)
    ds = siemens.mosaic(made, tmp_path / "1.dcm", backwards=backwards, bare=True)
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:]) * (-1 if backwards else 1)
    tags = {"NumberOfImagesInMosaic": ["5"], "SliceNormalVector": list(map(str, normal))}
    siemens.put_csa(ds, siemens.IMAGE, {"First": ["x"], **tags}, form=form)
    synth.write(ds, tmp_path / "1.dcm")
    check(read(tmp_path / "1.dcm"), made, backwards=backwards)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("moved", [0.0, 1.5])
def test_by_the_protocol_alone(tmp_path, read, backwards, turned, moved):
    """The slice beside which Image Position lies is the first; its distance is the protocol's."""
    made = made_of(tmp_path, orientation=OBLIQUE)
    ds = siemens.mosaic(made, tmp_path / "1.dcm", backwards=backwards, bare=True)
    slices = siemens.centres(made) + moved * np.cross(OBLIQUE[:3], OBLIQUE[3:])
    text = siemens.protocol(slices[::-1] if turned else slices)
    siemens.put_csa(ds, siemens.SERIES, {"MrPhoenixProtocol": [text]})
    del ds.SpacingBetweenSlices
    synth.write(ds, tmp_path / "1.dcm")
    check(read(tmp_path / "1.dcm"), made, backwards=backwards)


def without_creator(ds):
    siemens.put_csa(ds, siemens.SERIES, {"MrProtocol": [PROTOCOL]})
    del ds[0x00290010]


def another_block(ds):
    ds.private_block(0x0029, "SIEMENS MEDCOM HEADER", create=True).add_new(0x10, "OB", b"SV10junk")
    siemens.put_csa(ds, siemens.SERIES, {"MrPhoenixProtocol": [PROTOCOL]})


PROTOCOL = siemens.protocol([(0.0, 0.0, float(z)) for z in range(5)])
AT_THE_END = {"origin": (-3.2, -2.1, 4.0), "spacing": (1.0, 0.7, 0.8)}


@pytest.mark.parametrize("edit", [without_creator, another_block])
def test_where_headers_may_be(tmp_path, read, edit):
    made = made_of(tmp_path, **AT_THE_END | {"origin": (-3.2, -2.1, 0.0)})
    ds = siemens.mosaic(made, tmp_path / "1.dcm", bare=True)
    edit(ds)
    synth.write(ds, tmp_path / "1.dcm")
    check(read(tmp_path / "1.dcm"), made)


def put(**tags):
    return lambda ds: siemens.put_csa(ds, siemens.IMAGE, tags)


def put_protocol(text):
    def edit(ds):
        siemens.put_csa(ds, siemens.SERIES, {"MrPhoenixProtocol": [text]})

    return edit


def change(**values):
    return lambda ds: ds.update(values)


def both(*edits):
    return lambda ds: [edit(ds) for edit in edits]


COUNT, UP = {"NumberOfImagesInMosaic": ["5"]}, {"SliceNormalVector": ["0", "0", "1"]}
DOWN = {"SliceNormalVector": ["0", "0", "-1"]}
NEAR = siemens.protocol([(0.0, 0.0, 33.25 + 2.0 * z) for z in range(5)])
REFUSED = {
    "nothing": (lambda ds: None, "how many", 1),
    "no direction": (put(**COUNT), "where the slices go", 5),
    "no distance": (both(put(**COUNT, **UP), lambda ds: delattr(ds, "SpacingBetweenSlices")),
                    "distance of slices", 5),
    "two counts": (both(put(**COUNT, **UP), lambda ds: siemens.put_count(ds, 7)), "5 or 7", 1),
    "none": (put(NumberOfImagesInMosaic=["0"]), "0 slices", 1),
    "too many": (put(NumberOfImagesInMosaic=["1000000000"]), "1000000000 slices", 1),
    "no fit": (put(NumberOfImagesInMosaic=["10"], **UP), "do not fit", 10),
    "aslant": (put(**COUNT, SliceNormalVector=["0", "0.6", "0.8"]), "right angles", 5),
    "two directions": (both(put(**COUNT, **DOWN), put_protocol(NEAR)), "contradict", 5),
    "two distances": (both(put(**COUNT, **UP), put_protocol(NEAR), change(SpacingBetweenSlices=3)),
                      "every 3 mm, but every 2 mm", 5),
    "groups": (both(put(**COUNT, **UP), put_protocol(siemens.protocol(
        [(0.0, 0.0, 33.25 + z) for z in (0, 2, 4, 9, 11)]))), "uneven", 5),
    "protocol of a slab": (both(put_protocol(siemens.protocol([(0, 0, 1)]))), "how many", 1),
    "volume": (both(put_protocol(NEAR), change(MRAcquisitionType="3D")), "how many", 1),
    "far away": (both(put(**COUNT), put_protocol(siemens.protocol(
        [(0.0, 0.0, 133.25 + 2.0 * z) for z in range(5)]))), "where the slices go", 5),
    "frames": (both(put(**COUNT, **UP), change(NumberOfFrames=2)), "2 frames that are mosaics", 2),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "message", "frames"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_is_not_guessed(tmp_path, read, edit, message, frames):
    ds = siemens.mosaic(made_of(tmp_path), tmp_path / "1.dcm", bare=True)
    edit(ds)
    synth.write(ds, tmp_path / "1.dcm")
    problem = read(tmp_path / "1.dcm")
    assert isinstance(problem, Problem)
    assert problem.code == ProblemCode.UNSUPPORTED_MULTIFRAME
    assert message in problem.message
    assert problem.frames == frames


@settings(max_examples=150, **FOREVER)
@given(data=st.data())
def test_damaged_headers_give_frames_or_problems(tmp_path, read, data):
    path = tmp_path / "7.dcm"
    if not path.exists():
        ds = siemens.mosaic(made_of(tmp_path), path)
        put_protocol(NEAR)(ds)
        synth.write(ds, path)
    whole = bytearray(path.read_bytes())
    start = whole.index(b"SIEMENS MR HEADER")
    end = whole.index(b"ASCCONV END")
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(start, end))] = data.draw(st.integers(0, 255))
    found = read(bytes(whole))
    assert isinstance(found, Problem | Frame | list)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (COUNT | {"SliceNormalVector": ["1e308", "1e308", "1e308"]}, NEAR),
        (COUNT | {"SliceNormalVector": ["0", "0", "7"]}, NEAR),
        (COUNT | {"SliceNormalVector": ["nan", "0", "1"]}, NEAR.replace("33.25", "1e999")),
        (COUNT, NEAR.replace("33.25", "1e300")),
        ({"NumberOfImagesInMosaic": ["nan"]}, ""),
        ({"NumberOfImagesInMosaic": ["1e400"]}, ""),
    ],
)
def test_numbers_that_cannot_be(tmp_path, read, tags, text):
    ds = siemens.mosaic(made_of(tmp_path), tmp_path / "1.dcm", bare=True)
    siemens.put_csa(ds, siemens.IMAGE, tags)
    siemens.put_csa(ds, siemens.SERIES, {"MrPhoenixProtocol": [text]})
    synth.write(ds, tmp_path / "1.dcm")
    assert read(tmp_path / "1.dcm").code == ProblemCode.UNSUPPORTED_MULTIFRAME


def test_without_a_place_the_tiles_are_kept(tmp_path, read):
    made = made_of(tmp_path)
    ds = siemens.mosaic(made, tmp_path / "1.dcm", bare=True)
    del ds.ImagePositionPatient
    siemens.put_count(ds, 5)
    synth.write(ds, tmp_path / "1.dcm")
    frames = read(tmp_path / "1.dcm")
    assert [frame.position for frame in frames] == [None] * 5
    for frame, slice_ in zip(frames, made.stored, strict=True):
        np.testing.assert_array_equal(stored_pixels(Options(), frame), slice_)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backwards", [False, True])
def test_nibabel_puts_it_at_the_same_place(tmp_path, read, backwards):
    made = made_of(tmp_path, orientation=OBLIQUE, slices=7)
    ds = siemens.mosaic(made, tmp_path / "1.dcm", backwards=backwards)
    theirs = dicomwrappers.wrapper_from_data(pydicom.dcmread(tmp_path / "1.dcm"))
    check_against(read(tmp_path / "1.dcm"), theirs)
    assert ds.Rows == 18


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz"])
def test_a_mosaic_of_a_scanner(tmp_path, read, name):
    """It says everything three times, and all agrees: nothing of it is refused."""
    if not (THEIRS / name).is_file():
        pytest.skip("nibabel is installed without its test data")
    path = tmp_path / "1.dcm"
    path.write_bytes(gzip.decompress((THEIRS / name).read_bytes()))
    frames = read(path)
    check_against(frames, dicomwrappers.wrapper_from_data(pydicom.dcmread(path)))
    assert len(frames) == 48
    check_centres(frames, path, range(48))


def check_against(frames: list[Frame], theirs) -> None:
    """Compare with nibabel's array (x, y, z) and affine to LPS."""
    array, affine = theirs.get_unscaled_data(), theirs.affine
    rows, columns = frames[0].spec.rows, frames[0].spec.columns
    assert array.shape[-1] == len(frames)
    # nibabel's arrays are transposed: (row, column, slice)
    for z, frame in enumerate(frames):
        np.testing.assert_array_equal(stored_pixels(Options(), frame), array[..., z])
        np.testing.assert_allclose(frame.position, (affine @ [0, 0, z, 1])[:3], atol=1e-3)
        right, down = frame.orientation[:3], frame.orientation[3:]
        corner = (
            np.array(frame.position)
            + np.array(right) * frame.pixel_spacing[1] * (columns - 1)
            + np.array(down) * frame.pixel_spacing[0] * (rows - 1)
        )
        far = (affine @ [rows - 1, columns - 1, z, 1])[:3]
        np.testing.assert_allclose(corner, far, atol=1e-3)


def check_centres(frames: list[Frame], path: Path, order) -> None:
    """Compare the middle of each slice with the protocol, as nibabel reads it."""
    series = csareader.read(pydicom.dcmread(path)[0x00291020].value)["tags"]
    text = series["MrPhoenixProtocol"]["items"][0]
    slices = ascconv.parse_ascconv(text[text.index("### ASCCONV") :], '""')[0]["sSliceArray"]
    for frame, n in zip(frames, order, strict=True):
        stated = slices["asSlice"][n]["sPosition"]
        centre = [stated.get(f"d{axis}", 0.0) for axis in ("Sag", "Cor", "Tra")]
        right, down = np.split(np.array(frame.orientation), 2)
        middle = np.array(frame.position) + (
            right * frame.pixel_spacing[1] * frame.spec.columns / 2
            + down * frame.pixel_spacing[0] * frame.spec.rows / 2
        )
        np.testing.assert_allclose(middle, centre, atol=0.01)


def test_a_mosaic_whose_image_header_has_been_removed(shared_data, read):
    """Its protocol says that the first tile is the slice nearest to the top of the head.

    dcm2niix, which guesses, and dicom2nifti, which takes the tiles from the last one on, both go
    upwards from there: they put 49 slices above the head. Their pixels and first place agree.
    """
    folder = shared_data / "4d" / "siemens-mosaic-2vol"
    theirs = nibabel.load(folder / "REF_001_ground_truth.nii.gz")
    values = np.asarray(theirs.dataobj)
    for t, name in enumerate(("IM-0001-0001.dcm", "IM-0001-0002.dcm")):
        frames = read(folder / name)
        check_centres(frames, folder / name, range(49, -1, -1))
        np.testing.assert_allclose(
            frames[0].position, (np.diag([-1, -1, 1, 1]) @ theirs.affine @ [0, 0, 0, 1])[:3],
            atol=1e-3,
        )  # fmt: skip
        for z, frame in enumerate(frames):
            pixels = stored_pixels(Options(), frame)
            np.testing.assert_array_equal(pixels, values[:, :, 49 - z, t].T)


def by_dcm2niix(folder: Path, out: Path):
    program = pytest.importorskip("dcm2niix").bin
    out.mkdir()
    arguments = [program, "-z", "n", "-b", "n", "-f", "a", "-o", out, folder]
    subprocess.run(arguments, check=True, capture_output=True)
    (path,) = out.glob("*.nii")
    return nibabel.load(path)


@pytest.mark.parametrize("name", ["siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz"])
def test_dcm2niix_makes_the_same_of_a_scanners_mosaic(tmp_path, read, name):
    if not (THEIRS / name).is_file():
        pytest.skip("nibabel is installed without its test data")
    path = tmp_path / "in" / "1.dcm"
    path.parent.mkdir()
    path.write_bytes(gzip.decompress((THEIRS / name).read_bytes()))
    theirs = by_dcm2niix(path.parent, tmp_path / "out")
    values, to_ras = np.asarray(theirs.dataobj), np.diag([-1, -1, 1, 1])
    across = np.linalg.inv(theirs.affine)
    frames = read(path)
    assert values.shape == (128, 128, 48)
    for frame in frames:
        right, down = np.split(np.array(frame.orientation), 2)
        corners = [
            np.array(frame.position) + right * frame.pixel_spacing[1] * x
            + down * frame.pixel_spacing[0] * y
            for y, x in ((0, 0), (127, 127))
        ]  # fmt: skip
        (x0, y0, z0), (x1, y1, z1) = (
            (across @ to_ras @ [*corner, 1])[:3] for corner in corners
        )  # fmt: skip
        assert z0 == pytest.approx(z1, abs=1e-3)
        assert (x0, x1, y0, y1) == pytest.approx((0, 127, 127, 0), abs=1e-2)
        np.testing.assert_array_equal(
            stored_pixels(Options(), frame), values[:, ::-1, round(z0)].T
        )  # fmt: skip


def test_dcm2niix_cuts_the_same_tiles_where_it_has_to_guess(tmp_path, shared_data, read):
    folder = shared_data / "4d" / "siemens-mosaic-2vol"
    values = np.asarray(by_dcm2niix(folder, tmp_path / "out").dataobj)
    assert values.shape == (80, 80, 64, 2)  # fourteen tiles more than the protocol has slices
    for t, name in enumerate(("IM-0001-0001.dcm", "IM-0001-0002.dcm")):
        for z, frame in enumerate(read(folder / name)):
            np.testing.assert_array_equal(
                stored_pixels(Options(), frame), values[:, ::-1, z, t].T
            )  # fmt: skip
