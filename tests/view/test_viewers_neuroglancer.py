"""Neuroglancer draws the volume where it is in the patient: seen in its own pages, by Chromium."""

import gc
import json
import re
import sys
import time
import urllib.error
import urllib.request
import weakref

import looking
import numpy as np
import phantom
import pytest
from chromium import COMMAND, Chromium, full, ways
from pictures import keep

import sansfilm
from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.options import Options, Storage

OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
GROUPS = """[...document.querySelectorAll(".neuroglancer-layer-group-viewer")].flatMap(group => {
  const place = group.querySelector("[class*=rendered-data-panel]")?.getBoundingClientRect();
  if (!place || !group.innerText.includes("left")) return [];
  return [[group.innerText, ...[place.top, place.left, place.bottom, place.right].map(Math.round)]];
})"""


@pytest.fixture(scope="module")
def neuroglancer():
    found = pytest.importorskip("neuroglancer", reason="needs sansfilm[neuroglancer]")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def look(neuroglancer, tmp_path_factory):
    """Give a function that returns the picture of a viewer, and its panels by their titles."""
    if COMMAND is None:
        pytest.skip("there is no Chromium to draw with")
    with Chromium(tmp_path_factory.mktemp("neuroglancer"), (1080, 480)) as browser:

        def draw(viewer, bright=True):
            browser.open(str(viewer))
            browser.wait(f"{GROUPS}.length === 3")
            last = None
            for _ in range(100):  # until all chunks are there, and drawn
                time.sleep(0.25)
                picture = browser.picture()
                if (
                    last is not None
                    and (picture == last).all()
                    and picture[100:-30].max() > 200 * bright
                ):
                    break
                last = picture
            if not bright:
                time.sleep(2)
                picture = browser.picture()
            panels = {
                text: picture[top + 32 : bottom - 32, left + 4 : right - 4]
                for text, top, left, bottom, right in browser.ask(GROUPS)
            }
            return picture, panels, browser.ask("document.body.innerText")

        yield draw


def seen(made, *, lines=False, options=None, **how):
    (volume,) = sansfilm.read(made.folder, options=options)
    viewer = volume.neuroglancer(**how)
    with viewer.txn() as state:
        state.show_axis_lines = lines  # they would cut the shells in two
        state.show_scale_bar = False
    return viewer


def check(panels):
    """Assert that each panel has on each side as many shells as its title says."""
    names = set()
    for text, picture in panels.items():
        name, left, top = re.search(r"(\w+): (\w) left, (\w) up", text).groups()
        names.add(name)
        (center, _, shells), *_ = looking.panels(picture)
        counts = looking.count_sides(center, shells)
        letters = {"left": left, "right": OPPOSITE[left], "top": top, "bottom": OPPOSITE[top]}
        assert counts == {side: phantom.SHELLS[letter] for side, letter in letters.items()}, name
    assert names == {"axial", "coronal", "sagittal"}


@pytest.mark.parametrize("name", ways(phantom.ALL))
def test_each_side_of_the_patient_is_where_the_title_says(tmp_path, look, name):
    picture, panels, _ = look(seen(phantom.series(tmp_path, phantom.ALL[name])))
    keep(f"neuroglancer {name}", picture)
    check(panels)


@full
def test_the_order_of_the_files_does_not_matter(tmp_path, look):
    check(look(seen(phantom.series(tmp_path, phantom.AXIAL, backwards=True)))[1])


@full
def test_shear_is_drawn_as_it_is(tmp_path, look):
    made = phantom.series(tmp_path, phantom.AXIAL, shear=phantom.SHEAR)
    picture, panels, _ = look(seen(made))
    keep("neuroglancer sheared", picture)
    check(panels)
    for panel in panels.values():
        ((rows, columns),) = looking.outlines(panel)
        assert rows / columns == pytest.approx(1, abs=0.05)


def test_millimetres_are_the_patients(tmp_path, look):
    """The middle of the body is where the position says, which begins there."""
    viewer = seen(phantom.series(tmp_path, phantom.OBLIQUE["oblique axial"]))
    _, panels, text = look(viewer)
    position = [float(value) for value in viewer.state.position]
    np.testing.assert_allclose(position, phantom.CENTER, atol=1e-3)
    scale = viewer.state.cross_section_scale  # mm for a pixel
    for panel in panels.values():
        ((center, radius, _),) = looking.panels(panel)
        away = (center - (np.array(panel.shape[:2]) - 1) / 2) * scale
        assert np.abs(away).max() < 1.0  # less than a voxel
        assert radius * scale == pytest.approx(phantom.BODY_MM, abs=1.3)
    assert "not for clinical use" in text


@full
def test_monochrome1_is_inverted(tmp_path, look):
    made = phantom.series(tmp_path, inverted=True)
    _, panels, _ = look(seen(made))
    check(panels)
    grey = phantom.BODY / phantom.SHELL * 255
    assert looking.body_grey(panels.values()) == pytest.approx(grey, abs=2)


@full
def test_curved_windows_are_drawn(tmp_path, look):
    def sigmoid(dataset, index):
        dataset.VOILUTFunction = "SIGMOID"

    made = phantom.series(tmp_path, edit=sigmoid, slope=2.0)
    (volume,) = sansfilm.read(made.folder)
    _, panels, _ = look(seen(made))
    middle = volume.window()[tuple(size // 2 for size in volume.array.shape)]
    assert looking.body_grey(panels.values()) == pytest.approx(middle, abs=2)


@full
def test_a_time_is_drawn(tmp_path, look):
    made = phantom.beating(tmp_path)
    check(look(seen(made, t=0))[1])
    (panel, *_) = look(seen(made, t=1), bright=False)[1].values()
    assert panel.max() < 200  # empty then


def test_a_time_is_shown_where_it_is_asked_for(neuroglancer, tmp_path):
    made = phantom.beating(tmp_path)
    with pytest.raises(OptionError, match="t must be 0 to 1"):
        seen(made, t=2)
    viewer = seen(made, t=1)
    assert list(viewer.state.dimensions.names) == ["t", "L", "P", "S"]
    assert viewer.state.position[0] == 1


@full
def test_other_levels_lie_in_the_same_place(tmp_path, look):
    made = phantom.series(tmp_path, spacing=(1.2, 1.2, 1.2))
    viewer = seen(made, options=Options(storage=Storage(smallest=16, slab=16, chunk=16)))
    with viewer.txn() as state:
        state.cross_section_scale *= 3  # from far away a coarse one does
    _, panels, _ = look(viewer)
    for panel in panels.values():
        ((center, _, _),) = looking.panels(panel, least=500)
        away = (center - (np.array(panel.shape[:2]) - 1) / 2) * viewer.state.cross_section_scale
        assert np.abs(away).max() < 2.4


# ------------------------------------------------------------------------------ without a browser


def test_the_page_asks_nobody_else(neuroglancer, tmp_path):
    viewer = seen(phantom.series(tmp_path))
    told = json.dumps(viewer.state.to_json())
    assert set(re.findall(r"https?://([^:/]+)", told)) == {"127.0.0.1"}
    assert str(viewer).startswith("http://127.0.0.1:")
    assert not re.search(r"ZZPHI|1\.2\.8", told)
    assert "not for clinical use" in viewer.state.title


def test_a_viewer_that_is_gone_is_served_no_longer(neuroglancer, tmp_path):
    viewer = seen(phantom.series(tmp_path))
    url = viewer.state.layers["volume"].source[0].url.partition("|")[0]
    with urllib.request.urlopen(f"{url}zarr.json") as answer:
        assert answer.status == 200
    name = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert name() is None
    with pytest.raises(urllib.error.HTTPError, match="404") as told:
        urllib.request.urlopen(f"{url}zarr.json")
    told.value.close()


def in_colour(dataset, index):
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
    dataset.PlanarConfiguration = 0
    dataset.PixelData = bytes(dataset.Rows * dataset.Columns * 3)
    del dataset.RescaleSlope, dataset.RescaleIntercept


def test_what_has_no_place_is_told(neuroglancer, volume_of, unplaced):
    with pytest.raises(OptionError, match="no place in the patient"):
        volume_of(slices=3, edit=unplaced, modality="OT", intercept=0).neuroglancer()


def test_colour_is_told(neuroglancer, volume_of):
    colour = {"bits_allocated": 8, "bits_stored": 8, "intercept": 0, "window": None}
    with pytest.raises(OptionError, match="in colour: use show"):
        volume_of(slices=3, edit=in_colour, modality="OT", **colour).neuroglancer()


def test_uneven_slices_are_told(neuroglancer, volume_of):
    def uneven(dataset, index):
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 1.2 * index**1.5]

    with pytest.raises(OptionError, match=r"uneven distances: use resample\(\)"):
        volume_of(slices=7, edit=uneven).neuroglancer()


def test_without_neuroglancer_the_cure_is_told(volume_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'sansfilm\[neuroglancer\]'"):
        volume_of(slices=2).neuroglancer()
