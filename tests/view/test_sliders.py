"""Sliders of the picture: each moves its own plane, to the side that it counts to."""

import base64
import io

import numpy as np
import phantom
import pytest
import synth
from PIL import Image

import sansfilm
from sansfilm.view import show
from sansfilm.view.planes import count_cuts, hang

widgets = pytest.importorskip("ipywidgets", reason="needs ipywidgets: sansfilm[notebook]")


@pytest.fixture
def live(monkeypatch):
    """Be in a notebook."""
    monkeypatch.setattr(show, "in_notebook", lambda: True)


def widget_of(figure):
    return figure.sliders()


def shown(box):
    return np.asarray(Image.open(io.BytesIO(box.children[0].value)).convert("RGB"))


@pytest.mark.parametrize("name", ["axial", "axial, slices from the head", "oblique coronal"])
def test_planes_are_counted_to_left_back_and_head(tmp_path, name):
    (volume,) = sansfilm.read(phantom.series(tmp_path, phantom.ALL[name]).folder)
    affine = volume.affine_lps
    sizes = count_cuts(volume, 0, affine)
    assert sorted(sizes.values()) == sorted(volume.array.shape)
    for title, side, axis in (("axial", "S", 2), ("coronal", "P", 1), ("sagittal", "L", 0)):
        strength = np.abs(affine[axis, :3])
        through = int(strength.argmax())
        for cut in (0, sizes[title] // 3, sizes[title] - 1):
            (plane,) = (view[1] for view in hang(volume, 0, affine, cut={title: cut})
                        if view[0] == title)  # fmt: skip
            number = cut if affine[axis, through] > 0 else sizes[title] - 1 - cut
            slice_there = np.take(volume.array[:], number, axis=through)
            assert sorted(plane.ravel()) == sorted(slice_there.ravel()), side


def test_a_notebook_gets_the_sliders_beside_the_picture(volume_of, live):
    ((kind, view),) = volume_of(slices=3).show()._repr_mimebundle_().items()
    assert kind == "application/vnd.jupyter.widget-view+json"
    assert set(view) >= {"model_id", "version_major"}


def test_a_slider_moves_its_plane_alone(tmp_path):
    (volume,) = sansfilm.read(phantom.series(tmp_path, spacing=(4.8, 3.2, 2.4)).folder)
    box = widget_of(volume.show())
    knobs = {knob.description: knob for knob in box.children[1].children}
    assert list(knobs) == ["axial", "coronal", "sagittal"]
    before = shown(box)
    third = before.shape[1] // 3
    for number, (title, knob) in enumerate(knobs.items()):
        assert (knob.min, knob.max) == (0, count_cuts(volume, 0, volume.affine_lps)[title] - 1)
        knob.value = knob.max // 4
        after = shown(box)
        parts = [slice(n * third, (n + 1) * third) for n in range(3)]
        changed = [bool((before[:, part] != after[:, part]).any()) for part in parts]
        assert changed == [n == number for n in range(3)]
        before = after


def test_further_axes_and_stacks_have_sliders(volume_of, unplaced):
    volume = volume_of(slices=5, edit=unplaced, modality="OT", intercept=0, window=None)
    box = widget_of(volume.show())
    (knob,) = box.children[1].children
    assert (knob.description, knob.max) == ("i", 4)
    first = shown(box)
    knob.value = 4
    assert (shown(box) != first).any()


def test_without_a_notebook_there_are_none(volume_of):
    figure = volume_of(slices=3).show()
    assert figure._repr_mimebundle_() == {}
    assert base64.b64encode(figure._repr_png_())


def test_a_notebook_is_one_with_a_kernel(monkeypatch):
    import sys
    import types

    shell = types.SimpleNamespace(kernel=None)
    fake = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    assert show.in_notebook()
    del shell.kernel
    assert not show.in_notebook()
    shell.kernel = None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not show.in_notebook()


def test_the_pictures_of_slices_are_those_of_show(tmp_path):
    (volume,) = sansfilm.read(synth.series(tmp_path, slices=5).folder)
    assert volume.show()._repr_png_() == widget_of(volume.show()).children[0].value
