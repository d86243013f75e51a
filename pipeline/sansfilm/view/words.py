"""What a picture shows, in words: below the pictures of every viewer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sansfilm.view.planes import choose_places, place_title
from sansfilm.view.windows import Table, choose_window

if TYPE_CHECKING:
    from sansfilm.view.volume import Volume


def describe(volume: "Volume", window: Any, at: Mapping[str, int], *, upright: bool = False) -> str:
    """Return what is shown, of what geometry, in which window; `upright` if shear is not drawn."""
    verdict, numbers = volume.verdict.code, volume.verdict.numbers
    missing = volume.attributes["missing"]
    if missing:
        verdict += f", {len(missing)} missing"
    leans = verdict.startswith("sheared") or (
        numbers.get("in_plane_drift_mm", 0.0) > numbers.get("tolerances", {}).get("in_plane_mm", 0)
    )
    if leans:
        verdict += f", leans by {numbers['shear_deg']:.1f}°" + (
            ", drawn upright" if upright else ""
        )
    words = [volume.modality, verdict]
    places = choose_places(volume, at)
    if volume.affine_lps is None:  # the last of them has a picture for each place
        places.popitem()
    words += [place_title(volume, axis, place) for axis, place in places.items()]
    words.append(describe_window(volume, window))
    return "  ".join(words)


def describe_window(volume: "Volume", window: Any) -> str:
    """Return which window is shown, in words."""
    if "c" in volume.axes:
        return "colour"
    chosen = choose_window(volume, window)
    if chosen is None:
        return "own range"
    if isinstance(chosen, Table):
        return chosen.name
    return f"C {chosen[0]:g} W {chosen[1]:g} {volume.unit}".rstrip()
