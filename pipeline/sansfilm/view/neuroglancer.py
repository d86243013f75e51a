"""A volume in Neuroglancer: served from this process, at its place in the patient."""

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.view.exits import placed
from sansfilm.view.grey import Grey, choose_grey
from sansfilm.view.planes import choose_places
from sansfilm.view.serve import server
from sansfilm.view.words import describe

if TYPE_CHECKING:
    import neuroglancer

    from sansfilm.view.volume import Volume

_KINDS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32")
"""Types of stored values that its shaders know."""
_SIDES = ("L", "P", "S")
"""Names of its dimensions: the side of the patient that each grows to."""
_HALF = float(np.sqrt(0.5))
PANELS = {  # title: what is where, and the turn (quaternion x, y, z, w) from right, down, depth
    "axial: R left, A up": (0.0, 0.0, 0.0, 1.0),
    "coronal: R left, S up": (-_HALF, 0.0, 0.0, _HALF),
    "sagittal: A left, S up": (-0.5, -0.5, 0.5, 0.5),
}
"""The planes as radiologists hang them; Neuroglancer draws no letters, so the titles tell."""
_PIXELS = 300
"""Of the screen, which the longest side of the volume takes."""


def neuroglancer_view(
    volume: "Volume", window: Any, at: Mapping[str, int]
) -> "neuroglancer.Viewer":
    """See Volume.neuroglancer."""
    try:
        import neuroglancer
    except ImportError as exc:
        raise MissingPackageError(
            "Neuroglancer is needed: pip install 'sansfilm[neuroglancer]'"
        ) from exc
    affine = placed(volume, 0, "Neuroglancer")
    if "c" in volume.axes:
        raise OptionError(
            "Neuroglancer is for grey values, and these images are in colour: use show"
        )
    if volume.array.dtype.name not in _KINDS:
        raise OptionError(f"Neuroglancer has no place for {volume.array.dtype}: use show or view")
    places = choose_places(volume, at)
    shader = make_shader(volume, choose_grey(volume, window))
    viewer = neuroglancer.Viewer()
    origin = viewer.get_viewer_url().partition("/v/")[0]
    url = server().publish(volume, origin)
    weakref.finalize(viewer, server().withdraw, url)
    size = np.array(volume.array.shape)[[volume.axes.index(axis) for axis in "zyx"]]
    middle = (affine @ [*((size - 1) / 2), 1])[:3]
    extent = float(np.max(np.abs(affine[:3, :3]) @ size))
    output, matrix, position = make_space(volume, affine, middle, places)
    space = neuroglancer.CoordinateSpace
    caption = f"{describe(volume, window, at)} · not for clinical use"
    with viewer.txn() as state:
        state.title = f"{volume.modality}, not for clinical use"
        state.dimensions = space(names=output[0], scales=output[1], units=output[2])
        state.position = position
        state.display_dimensions = list(_SIDES)
        state.layers["volume"] = neuroglancer.ImageLayer(
            source=neuroglancer.LayerDataSource(
                url=f"{url}/|zarr3:",
                transform=neuroglancer.CoordinateSpaceTransform(
                    output_dimensions=state.dimensions, matrix=matrix
                ),
            ),
            shader=shader,
        )
        for title in PANELS:
            state.layers[title] = neuroglancer.LocalAnnotationLayer(dimensions=state.dimensions)
        state.show_default_annotations = False
        state.cross_section_background_color = "#000000"
        state.cross_section_scale = extent / _PIXELS
        state.layout = _layout(neuroglancer)
    with viewer.config_state.txn() as config:
        config.status_messages["sansfilm"] = caption
    return viewer


def make_space(
    volume: "Volume", affine: np.ndarray, middle: np.ndarray, places: Mapping[str, int]
) -> tuple[tuple[list[str], list[float], list[str]], np.ndarray, list[float]]:
    """Return the dimensions, how those of the OME-Zarr image come to lie in them, and a position.

    The image's own coordinates are positions along its array axes. The further axes stay as they
    are, z, y and x become left, posterior and superior millimetres: shear and all.

    Returns
    -------
    dimensions : names, scales, units
    matrix : array, shape (n, n + 1)
    position : list of float
    """
    dataset = volume.ome["multiscales"][0]["datasets"][0]
    transforms = {part["type"]: part for part in dataset["coordinateTransformations"]}
    scale = np.array(transforms["scale"]["scale"])
    translation = np.array(transforms["translation"]["translation"])
    axes = volume.axes
    own = [axes.index(axis) for axis in "zyx"]
    further = [n for n, axis in enumerate(axes) if axis not in "zyx"]
    direction = affine[:3, :3] / scale[own]
    matrix = np.zeros((len(axes), len(axes) + 1))
    for row, column in enumerate(further):
        matrix[row, column] = 1
    sides = slice(len(further), None)
    matrix[sides, own] = direction
    matrix[sides, -1] = affine[:3, 3] - direction @ translation[own]
    names = [*(axes[n] for n in further), *_SIDES]
    scales = [*(float(scale[n]) for n in further), 1.0, 1.0, 1.0]
    units = [*("" for _ in further), "mm", "mm", "mm"]
    return (names, scales, units), matrix, [*(places[axes[n]] for n in further), *middle.tolist()]


def make_shader(volume: "Volume", grey: Grey) -> str:
    """Return a shader (GLSL ES 3.0) that draws stored values in a window, with sliders for it."""
    rescale = volume.attributes["rescale"]
    slope, intercept = (
        (1.0, 0.0) if rescale["applied"] else (rescale["slope"], rescale["intercept"])
    )
    center, width = (grey.low + grey.high) / 2, grey.high - grey.low
    reach = max(4 * width, abs(center))
    greys = grey.greys / 255
    table = ", ".join(f"{value:.4f}" for value in greys)
    return f"""\
#uicontrol float center slider(min={center - reach!r}, max={center + reach!r}, default={center!r})
#uicontrol float width slider(min={width / 100!r}, max={4 * width!r}, default={width!r})
const float greys[{len(greys)}] = float[{len(greys)}]({table});
void main() {{
  float value = float(toRaw(getDataValue())) * float({slope!r}) + float({intercept!r});
  float place = clamp((value - center) / width + 0.5, 0.0, 1.0) * {len(greys) - 1}.0;
  int below = int(min(place, {len(greys) - 2}.0));
  emitGrayscale(mix(greys[below], greys[below + 1], place - float(below)));
}}
"""


def _layout(neuroglancer: Any) -> Any:
    def panel(title: str, turn: tuple[float, ...]) -> Any:
        return neuroglancer.LayerGroupViewer(
            layers=["volume", title],
            layout="xy",
            cross_section_orientation=neuroglancer.LinkedOrientationState(
                link="unlinked", value=turn
            ),
        )

    return neuroglancer.row_layout([panel(title, turn) for title, turn in PANELS.items()])
