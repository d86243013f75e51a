"""Pictures as radiologists hang them: what is left, anterior and superior in the patient is there.

Every voxel of the test volumes says on which side of the middle it lies in the patient, so each
quarter of a picture can be asked where it is.
"""

import io
import math
import warnings

import numpy as np
import pytest
from PIL import Image

from sansfilm.errors import OptionError
from sansfilm.options import Options, Storage
from sansfilm.view.planes import hang

SHAPE = (24, 30, 36)
SPACING = (3.0, 1.6, 1.2)

AXIAL = ((1, 0, 0), (0, 1, 0))
SAGITTAL = ((0, 1, 0), (0, 0, -1))
CORONAL = ((1, 0, 0), (0, 0, -1))


def turned(directions, degrees=(0, 0, 0)):
    """Rotate row and column direction about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, two = [n for n in range(3) if n != axis]
        step = np.eye(3)
        step[one, one] = step[two, two] = np.cos(angle)
        step[one, two], step[two, one] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return tuple(np.concatenate([matrix @ direction for direction in directions]))


def mirrored(directions, rows, columns):
    return (*(rows * np.array(directions[0])), *(columns * np.array(directions[1])))


ACQUISITIONS = {
    "axial": turned(AXIAL),
    "axial, rows to the right": mirrored(AXIAL, -1, 1),
    "axial, columns to anterior": mirrored(AXIAL, 1, -1),
    "axial, both turned": mirrored(AXIAL, -1, -1),
    "axial, transposed": turned(AXIAL[::-1]),
    "sagittal": turned(SAGITTAL),
    "sagittal, from posterior": mirrored(SAGITTAL, -1, 1),
    "sagittal, from below": mirrored(SAGITTAL, 1, -1),
    "coronal": turned(CORONAL),
    "coronal, from the left": mirrored(CORONAL, -1, 1),
    "coronal, transposed": turned(CORONAL[::-1]),
    "oblique axial": turned(AXIAL, (14, -9, 21)),
    "oblique sagittal": turned(SAGITTAL, (-12, 10, 17)),
    "oblique coronal": turned(CORONAL, (11, 15, -13)),
}
LEFT, ANTERIOR, SUPERIOR = 100, 300, 900
"""No sum of some is another, nor with eighths of one that a plane cuts through."""


def sides(worlds, middle):
    """Code which sides of the middle points (..., 3) in LPS millimetres lie on."""
    x, y, z = np.moveaxis(worlds - middle, -1, 0)
    return (x > 0) * LEFT + (y < 0) * ANTERIOR + (z > 0) * SUPERIOR


@pytest.fixture(params=ACQUISITIONS, ids=lambda name: name.replace(" ", "-"))
def patient(request, volume_of):
    """Give a volume whose voxels tell where they are, and its name."""
    orientation = ACQUISITIONS[request.param]
    row, column = np.reshape(orientation, (2, 3))
    origin = np.array([-20.0, 35.0, -110.0])
    steps = np.stack([np.cross(row, column), column, row], axis=1) * SPACING
    middle = origin + steps @ ((np.array(SHAPE) - 1) / 2)

    def tell(dataset, index):
        places = np.stack(np.broadcast_arrays(index, *np.ogrid[: SHAPE[1], : SHAPE[2]]), axis=-1)
        frame = sides(origin + places @ steps.T, middle)
        dataset.PixelData = frame.astype("<u2").tobytes()

    volume = volume_of(
        slices=SHAPE[0], rows=SHAPE[1], columns=SHAPE[2], spacing=SPACING, origin=tuple(origin),
        orientation=orientation, intercept=0, edit=tell, window=(650, 1400),
        options=Options(storage=Storage(smallest=12, slab=8, chunk=8)),
    )  # fmt: skip
    return volume, request.param


EXPECTED = {  # title: codes of top left, top right, bottom left, bottom right, and the letters
    "axial": ((ANTERIOR, ANTERIOR + LEFT, 0, LEFT), SUPERIOR, "RLAP"),
    "coronal": ((SUPERIOR, SUPERIOR + LEFT, 0, LEFT), ANTERIOR, "RLSI"),
    "sagittal": ((SUPERIOR + ANTERIOR, SUPERIOR, ANTERIOR, 0), LEFT, "APSI"),
}


@pytest.mark.parametrize("level", [0, 1])
def test_every_quarter_of_every_picture_is_where_it_belongs(patient, level):
    volume, name = patient
    views = hang(volume, level, volume.affine(level))
    assert [view[0] for view in views] == ["axial", "coronal", "sagittal"]
    for title, plane, _, letters in views:
        quarters, through, edges = EXPECTED[title]
        rows, columns = plane.shape
        found = [
            plane[row, column]
            for row in (rows // 4, 3 * rows // 4)
            for column in (columns // 4, 3 * columns // 4)
        ]
        for code, quarter in zip(found, quarters, strict=True):
            # of the eight voxels below one of level 1, some lie on the other side of the plane
            assert int(code) in {quarter + math.floor(through * n / 8 + 0.5) for n in range(9)}
        assert "".join(letter[0] for letter in letters) == edges
        if "oblique" not in name:
            assert {len(letter) for letter in letters} == {1}


def test_pictures_have_the_proportions_of_the_patient(patient):
    volume, name = patient
    affine = volume.affine_lps
    size = np.abs(affine[:3, :3]) @ SHAPE  # along x, y and z, exact where nothing is oblique
    for title, plane, aspect, _ in hang(volume, 0, affine):
        found = plane.shape[0] * aspect / plane.shape[1]
        down, across = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}[title]
        if "oblique" not in name:
            assert found == pytest.approx(size[down] / size[across])
        assert 0.3 < found < 3.5


@pytest.mark.parametrize(
    "patient", [name for name in ACQUISITIONS if "oblique" not in name], indirect=True
)
def test_planes_are_cut_through_the_middle(patient):
    volume, _ = patient
    affine = volume.affine_lps
    middle = (affine @ [*((np.array(SHAPE) - 1) / 2), 1])[:3]
    strength = np.abs(affine[:3, :3])
    for (_, plane, _, _), through in zip(hang(volume, 0, affine), (2, 1, 0), strict=True):
        axis = int(strength[through].argmax())
        index = (np.array(SHAPE) - 1) / 2
        index[axis] = SHAPE[axis] // 2
        off = np.linalg.norm((affine @ [*index, 1])[:3] - middle)
        assert off <= strength[through, axis] / 2 + 1e-9
        expected = np.take(volume.array[:], SHAPE[axis] // 2, axis=axis)
        assert sorted(plane.ravel()) == sorted(expected.ravel())


def test_the_letters_of_an_oblique_edge_say_so_clearest_first(volume_of):
    volume = volume_of(orientation=turned(AXIAL, (0, 0, 30)), slices=4)
    (_, _, _, axial), *_ = hang(volume, 0, volume.affine_lps)
    assert axial == ("RA", "LP", "AL", "PR")


def figure_texts(figure):
    return [[text.get_text() for text in axis.texts] for axis in figure.axes]


def test_the_figure_puts_each_letter_at_its_edge(volume_of):
    figure = volume_of(slices=6).show()
    assert figure_texts(figure) == [list("RLAP"), list("RLSI"), list("APSI")]
    for axis in figure.axes:
        left, right, top, bottom = (text.get_position() for text in axis.texts)
        assert left[0] < 0.1
        assert right[0] > 0.9
        assert top[1] > 0.9  # axes coordinates go upwards
        assert bottom[1] < 0.1
        (image,) = axis.images
        assert image.origin == "upper"
        assert image.get_clim() == (0, 255)
    assert [axis.get_aspect() for axis in figure.axes] == pytest.approx([0.7 / 0.8, 2.5, 2 / 0.7])


def test_the_figure_says_what_it_is_and_what_it_is_not_for(volume_of):
    volume = volume_of(slices=3)
    told = volume.show("lung").get_suptitle()
    assert "CT" in told
    assert "regular" in told
    assert "C -600 W 1500 HU" in told
    assert "not for clinical use" in told
    assert "ZZPHI" not in told
    assert "C 40 W 400 HU" in volume.show().get_suptitle()


def test_without_a_window_the_own_range_is_shown(volume_of):
    figure = volume_of(slices=3, window=None).show()
    assert "own range" in figure.get_suptitle()
    values = np.concatenate([image.get_array().ravel() for image in figure.axes[0].images])
    assert (values.min(), values.max()) == (0, 255)


def test_images_without_a_place_are_shown_first_middle_and_last(volume_of, unplaced):
    volume = volume_of(slices=5, edit=unplaced, modality="OT", intercept=0, window=None)
    figure = volume.show()
    assert [axis.get_title() for axis in figure.axes] == [
        "image 1 of 5", "image 3 of 5", "image 5 of 5",
    ]  # fmt: skip
    assert figure_texts(figure) == [[""] * 4] * 3
    assert [axis.get_aspect() for axis in figure.axes] == pytest.approx([0.7 / 0.8] * 3)
    for axis, place in zip(figure.axes, (0, 2, 4), strict=True):
        frame = volume_of.made.stored[place] / 4095 * 255
        np.testing.assert_allclose(axis.images[0].get_array(), frame, atol=0.51)


@pytest.mark.parametrize("slices", [1, 2])
def test_few_images_are_shown_once_each(volume_of, unplaced, slices):
    volume = volume_of(slices=slices, edit=unplaced, modality="OT", intercept=0)
    assert len(volume.show().axes) == slices


def test_a_single_slice_with_a_place_is_shown(volume_of):
    figure = volume_of(slices=1).show()
    assert figure_texts(figure)[0] == list("RLAP")


def test_a_level_can_be_chosen_and_wrong_ones_are_told(volume_of):
    volume = volume_of(slices=8, options=Options(storage=Storage(smallest=10, slab=8, chunk=8)))
    figure = volume.show(level=1)
    assert figure.axes[0].images[0].get_array().shape == volume.levels[1].shape[1:]
    for level in (-1, len(volume.levels)):
        with pytest.raises(OptionError, match=f"level must be 0 to {len(volume.levels) - 1}"):
            volume.show(level=level)


def test_notebooks_get_a_picture_without_pyplot(volume_of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = Image.open(io.BytesIO(volume_of(slices=4).show()._repr_png_()))
    pixels = np.asarray(picture.convert("L"))
    assert pixels.std() > 10
    assert np.median(pixels[:3]) < 5  # the black of the figure, not a white frame
