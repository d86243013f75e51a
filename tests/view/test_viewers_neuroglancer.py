"""Neuroglancer draws the volume where it is in the patient: seen in its own pages, by Chromium."""

import json
import re
import sys
import threading
import time
import urllib.error
import urllib.request

import looking
import numpy as np
import phantom
import pytest
import synth
from chromium import COMMAND, Chromium
from pictures import keep

import sansfilm
from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.options import Options, Storage
from sansfilm.view.grey import choose_grey
from sansfilm.view.neuroglancer import PANELS, make_shader
from sansfilm.view.serve import server

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

        def draw(viewer):
            browser.open(str(viewer))
            browser.wait(f"{GROUPS}.length === 3")
            last = None
            for _ in range(100):  # until all chunks are there, and drawn
                time.sleep(0.25)
                picture = browser.picture()
                if last is not None and (picture == last).all() and picture[100:].max() > 200:
                    break
                last = picture
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


@pytest.mark.parametrize("name", phantom.ALL)
def test_each_side_of_the_patient_is_where_the_title_says(tmp_path, look, name):
    picture, panels, _ = look(seen(phantom.series(tmp_path, phantom.ALL[name])))
    keep(f"neuroglancer {name}", picture)
    check(panels)


def test_the_order_of_the_files_does_not_matter(tmp_path, look):
    check(look(seen(phantom.series(tmp_path, phantom.AXIAL, backwards=True)))[1])


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


def test_monochrome1_is_inverted(tmp_path, look):
    check(look(seen(phantom.series(tmp_path, inverted=True)))[1])


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
