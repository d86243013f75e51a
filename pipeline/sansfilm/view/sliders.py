"""The picture of `show` with sliders, for notebooks: one for each plane and each further axis."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets

from sansfilm.view.planes import choose_places, count_cuts
from sansfilm.view.show import draw

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume


def make_sliders(
    volume: "Volume", window: Any, level: int, at: Mapping[str, int]
) -> ipywidgets.VBox:
    """Return the picture and its sliders; each drawing reads the slices that it shows.

    Planes are counted to the left, the back and the head of the patient.
    """
    sizes = dict(zip(volume.axes, volume.grids[0].shape, strict=True))
    places = choose_places(volume, at)
    affine = volume.affine(level)
    cuts = {} if affine is None else count_cuts(volume, level, affine)
    knobs = {title: _slider(title, count, count // 2) for title, count in cuts.items() if count > 1}
    further = {
        axis: _slider(axis, sizes[axis], place) for axis, place in places.items() if sizes[axis] > 1
    }
    image = ipywidgets.Image(format="png", layout={"max_width": "100%"})

    def redraw(_: Any = None) -> None:
        chosen = {**at, **{axis: knob.value for axis, knob in further.items()}}
        cut = {title: knob.value for title, knob in knobs.items()}
        image.value = draw(volume, window, level, chosen, cut)._repr_png_()

    for knob in (*knobs.values(), *further.values()):
        knob.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([image, ipywidgets.HBox([*knobs.values(), *further.values()])])


def _slider(name: str, count: int, value: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(
        value=value, min=0, max=count - 1, description=name, layout={"width": "30%"}
    )
