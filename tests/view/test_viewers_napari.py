"""napari gets the volume where it is in the patient, and shows it hung as radiologists hang it.

Its model of a viewer is asked without a window; with a screen for it, real windows are looked at.
"""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import looking
import numpy as np
import phantom
import pytest
import synth
import zarr
from chromium import FULL
from pictures import keep
from PIL import Image

import sansfilm
from sansfilm.errors import MissingPackageError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore")  # napari's own, of the packages it stands on

SIDES = {"axial": ("R", "A"), "coronal": ("R", "S"), "sagittal": ("A", "S")}
"""Plane -> what is left and what is up."""
OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
WORLD = (2, 1, 0)
"""S, P, L of left, posterior, superior."""


@pytest.fixture(scope="module")
def model():
    """Give napari's viewer without a window."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("napari", reason="napari is too large for the default install")
        from napari.components import ViewerModel
    return ViewerModel


def layer_of(made, model, **how):
    (volume,) = sansfilm.read(made.folder, options=how.pop("options", None))
    viewer = volume.napari(viewer=model(), **how)
    return viewer, viewer.layers[0]


@pytest.mark.parametrize("name", phantom.STRAIGHT)
def test_every_point_of_the_world_has_the_patients_value(tmp_path, model, name):
    made = phantom.series(tmp_path, phantom.STRAIGHT[name])
    _, layer = layer_of(made, model)
    rng = np.random.default_rng(5)
    points = phantom.CENTER + rng.uniform(-40, 40, (4000, 3))
    index = np.array([layer.world_to_data(point[list(WORLD)]) for point in points])
    found = np.asarray(layer.data[0])[tuple(np.round(index).astype(int).T)]
    voxels = np.round(index)  # their middles are where the value was taken
    places = np.array([layer.data_to_world(voxel) for voxel in voxels])[:, list(WORLD)]
    np.testing.assert_array_equal(found, phantom.value(places))
    assert np.abs(places - points).max() <= 1.21


@pytest.mark.parametrize("name", ["axial", "sagittal, from the right"])
@pytest.mark.parametrize("plane", SIDES)
def test_planes_are_hung(tmp_path, model, name, plane):
    made = phantom.series(tmp_path, phantom.STRAIGHT[name])
    viewer, layer = layer_of(made, model, plane=plane)
    depth, down, across = (viewer.dims.axis_labels[axis] for axis in viewer.dims.order)
    camera = viewer.scene.camera
    _, vertical, horizontal = (str(way) for way in camera.orientation)
    assert {depth, down, across} == set("SPL")
    up = down if vertical == "up" else OPPOSITE[down]
    left = across if horizontal == "left" else OPPOSITE[across]
    assert (left, up) == SIDES[plane]
    # (S, P, L) is a left-handed system, and each swap of two makes it a right-handed one
    swaps = round(np.linalg.det(np.eye(3)[list(viewer.dims.order)]))
    assert str(camera.handedness) == {1: "left", -1: "right"}[swaps]
    assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    np.testing.assert_allclose(viewer.dims.point, phantom.CENTER[list(WORLD)], atol=2.4)


def test_what_is_said(tmp_path, model):
    viewer, layer = layer_of(phantom.series(tmp_path), model)
    assert "not for clinical use" in layer.name
    assert "not for clinical use" in viewer.canvas.overlays.text.text
    assert viewer.canvas.overlays.axes.visible
    assert layer.contrast_limits == [0, 999]
    assert len(layer.data) > 1
    assert isinstance(layer.data[0], zarr.Array)  # each plane reads what it needs


def test_monochrome1_is_inverted(tmp_path, model):
    _, layer = layer_of(phantom.series(tmp_path, inverted=True), model)
    assert layer.colormap.map(np.array([0.0, 1.0]))[:, 0].tolist() == [1, 0]


def test_modality_values_are_shown(tmp_path, model):
    made = synth.series(tmp_path, slices=4, slope=0.5, intercept=-3.25)
    _, layer = layer_of(made, model)
    np.testing.assert_allclose(np.asarray(layer.data[0]), made.values)


@pytest.mark.parametrize("how", [
    *({"directions": found} for found in phantom.OBLIQUE.values()), {"shear": phantom.SHEAR},
])  # fmt: skip
def test_what_napari_cannot_cut_is_refused(tmp_path, model, how):
    made = phantom.series(tmp_path, **how)
    with pytest.raises(OptionError, match="use view or neuroglancer"):
        layer_of(made, model)


def test_shear_can_be_set_upright(tmp_path, model):
    (volume,) = sansfilm.read(phantom.series(tmp_path, shear=phantom.SHEAR).folder)
    with pytest.raises(OptionError, match=r"or resample\(\), which sets it upright"):
        volume.napari(viewer=model())
    layer = volume.resample(2.4).napari(viewer=model()).layers[0]
    index = layer.world_to_data(phantom.CENTER[list(WORLD)])
    assert np.asarray(layer.data[0])[tuple(np.round(index).astype(int))] == phantom.BODY


def test_a_hair_of_a_turn_is_not_refused(tmp_path, model):
    made = phantom.series(tmp_path, phantom.turned(phantom.AXIAL, (0.2, -0.1, 0.1)))
    _, layer = layer_of(made, model)
    assert layer.affine.affine_matrix[0, 1] != 0  # what it is is told all the same


def test_wrong_calls_are_told(tmp_path, model, monkeypatch):
    (volume,) = sansfilm.read(phantom.series(tmp_path).folder)
    with pytest.raises(OptionError, match="plane must be one of axial, coronal, sagittal"):
        volume.napari(plane="oblique", viewer=model())
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        with pytest.raises(MissingPackageError, match="needs a screen"):
            volume.napari()


def test_without_napari_the_cure_is_told(tmp_path, monkeypatch):
    (volume,) = sansfilm.read(synth.series(tmp_path, slices=2).folder)
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'sansfilm\[napari\]'"):
        volume.napari()


@pytest.mark.skipif(not FULL, reason="windows are opened by make test-viewers")
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs xvfb-run for a screen")
def test_windows_show_each_side_where_it_belongs(tmp_path, model):
    pytest.importorskip("PySide6", reason="needs a Qt")
    folders = {name: tmp_path / name.replace(" ", "-") for name in phantom.STRAIGHT}
    for name, folder in folders.items():
        phantom.series(folder / "in", phantom.STRAIGHT[name])
    script = Path(__file__).parents[1] / "napari_window.py"
    command = ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24", sys.executable, str(script)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "QT_QPA_PLATFORM": "xcb"}
    subprocess.run([*command, *folders.values()], check=True, env=environment, timeout=280)
    for name, folder in folders.items():
        for plane, (left, up) in SIDES.items():
            picture = np.asarray(Image.open(folder / f"{plane}.png"))
            keep(f"napari {name} {plane}", picture)
            (center, _, shells), *_ = looking.panels(picture)
            letters = {"left": left, "right": OPPOSITE[left], "top": up, "bottom": OPPOSITE[up]}
            counts = looking.count_sides(center, shells)
            assert counts == {side: phantom.SHELLS[letter] for side, letter in letters.items()}
