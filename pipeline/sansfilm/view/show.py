"""Axial, coronal and sagittal pictures with orientation letters and the patient's proportions."""

import importlib.util
import io
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from sansfilm.view.planes import hang
from sansfilm.view.windows import choose_window, to_picture
from sansfilm.view.words import describe

if TYPE_CHECKING:
    from ipywidgets import Widget

    from sansfilm.view.volume import Volume

_FINE = 512
"""Pictures are drawn from the first level whose planes are at most this wide."""


class Picture(Figure):
    """A figure that notebooks draw, though nobody has imported pyplot; with sliders where it can.

    `sliders` returns the widget that stands for it in a live notebook.
    """

    sliders: "Callable[[], Widget] | None" = None

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Add the sliders to the picture, which stays for whoever reads the notebook later."""
        if self.sliders is None or not in_notebook():
            return {}
        bundle: dict[str, Any] = self.sliders()._repr_mimebundle_() or {}
        return {kind: data for kind, data in bundle.items() if "widget" in kind}


def in_notebook() -> bool:
    """Tell whether widgets can be shown: in a Jupyter kernel, with ipywidgets installed."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel") and importlib.util.find_spec("ipywidgets") is not None


def show(volume: "Volume", window: Any, level: int | None, at: Mapping[str, int]) -> Picture:
    """See Volume.show."""
    if level is None:
        level = next(
            (n for n, array in enumerate(volume.grids) if max(array.shape[-2:]) <= _FINE),
            len(volume.grids) - 1,
        )
    volume.factors(level)  # checks the level
    figure = draw(volume, window, level, at, {})

    def sliders() -> "Widget":
        from sansfilm.view.sliders import make_sliders

        return make_sliders(volume, window, level, at)

    figure.sliders = sliders
    return figure


def draw(
    volume: "Volume", window: Any, level: int, at: Mapping[str, int], cut: Mapping[str, int]
) -> Picture:
    """Return the picture of `show`; `cut` says through which slices, as in `planes.cut_views`."""
    chosen = choose_window(volume, window)
    views = hang(volume, level, volume.affine(level), at, cut)
    figure = Picture(figsize=(4.2 * len(views), 4.8), facecolor="black", layout="constrained")
    axes = figure.subplots(1, len(views), squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for axis, (title, plane, aspect, letters) in zip(axes, views, strict=True):
        picture = to_picture(volume, np.ma.getdata(plane), chosen)
        picture[np.ma.getmaskarray(plane)] = 0
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect=aspect)
        axis.set_title(title, color="white", fontsize=10)
        axis.set_axis_off()
        places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))
        for letter, (x, y) in zip(letters, places, strict=True):
            axis.text(
                x, y, letter, color="yellow", fontsize=11, transform=axis.transAxes,
                ha="center", va="center",
                bbox={"facecolor": "black", "alpha": 0.5, "linewidth": 0, "pad": 1},
            )  # fmt: skip
    words = describe(volume, window, at, upright=True)
    figure.suptitle(f"{words}   not for clinical use", color="0.7", fontsize=9)
    return figure
