"""Siemens mosaics: one picture whose tiles are the slices of a volume, from the left to the right.

Their number, direction and distance are in private elements only. Each is taken where it is
stated, and where two statements contradict each other, or nothing is stated, the mosaic is not
placed: the usual guess puts half of the slices outside of the head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Cut, Frame, Vector
from sansfilm.planning.csa import read_csa, read_slices
from sansfilm.planning.facts import FARTHEST_MM
from sansfilm.planning.items import Item

_MOST = 2**12
_PARALLEL = 0.99
_EVEN = 0.01
"""Part by which distances of slices may differ: they are written with few digits."""
_NEAR = 1 / 4
"""Part of the stack's height by which a motion-corrected slice may be off the protocol."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """What a header says of the slices in its picture.

    `normal` points from the first slice to the last, `slices` are the centres that were
    prescribed, in any order; `distance` in mm.
    """

    count: int
    normal: Vector | None
    distance: float | None
    slices: tuple[Vector, ...]

    def unpack(self, whole: Frame) -> list[Frame]:
        """Return a frame for each slice: its tile of the picture, and its place in the patient.

        Raises
        ------
        BadInstanceError
            UNSUPPORTED_MULTIFRAME if the tiles do not fit, or their place is not known.
        """
        side = math.isqrt(self.count - 1) + 1  # of the square that has room for all
        picture = whole.spec
        if picture.rows % side or picture.columns % side:
            size = f"{picture.rows} x {picture.columns} pixels"
            raise _refused(f"{self.count} slices in {side} x {side} tiles do not fit {size}")
        spec = replace(picture, rows=picture.rows // side, columns=picture.columns // side)
        first = step = np.zeros(3)
        if whole.position and whole.orientation and whole.pixel_spacing:
            right, down = (np.array(whole.orientation[n : n + 3]) for n in (0, 3))
            normal = np.cross(right, down)
            right, down = right * whole.pixel_spacing[1], down * whole.pixel_spacing[0]
            # Image Position is where a picture of this size would begin around the first slice
            off = (picture.columns - spec.columns) / 2, (picture.rows - spec.rows) / 2
            first = whole.position + right * off[0] + down * off[1]
            middle = first + right * spec.columns / 2 + down * spec.rows / 2
            step = self._step(normal, middle)
        return [
            replace(
                whole, spec=spec, number=n + 1, of=self.count,
                cut=Cut(n // side * spec.rows, n % side * spec.columns,
                        picture.rows, picture.columns),
                position=whole.position and tuple((first + n * step).tolist()),
            )
            for n in range(self.count)
        ]  # fmt: skip

    def _step(self, normal: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """Return the way from one slice to the next, mm; `middle` is that of the first slice."""
        if self.count == 1:
            return normal
        prescribed, forward = self._prescribed(normal, middle)
        stated = self.distance
        if prescribed and stated and abs(prescribed - stated) > _EVEN * stated:
            message = f"slices every {stated:g} mm, but every {prescribed:g} mm in the protocol"
            raise _refused(message)
        directions = [forward] if forward else []
        if self.normal is not None:
            along = sum(a * b for a, b in zip(self.normal, normal.tolist(), strict=True))
            if not _PARALLEL < abs(along) < 1 / _PARALLEL:
                raise _refused("SliceNormalVector is no unit vector at right angles to the slices")
            directions.append(math.copysign(1.0, along))
        if len(set(directions)) > 1:
            raise _refused("SliceNormalVector and protocol contradict each other")
        if not directions:
            raise _refused("neither SliceNormalVector nor protocol says where the slices go")
        distance = stated or prescribed
        if not distance:  # Slice Thickness would leave out the gaps
            raise _refused("neither SpacingBetweenSlices nor protocol says the distance of slices")
        return normal * (directions[0] * distance)

    def _prescribed(self, normal: np.ndarray, middle: np.ndarray) -> tuple[float, float]:
        """Return distance of the slices in the protocol, and 1 or -1: to which side they go.

        Each is 0 if it is not known.
        """
        if len(self.slices) != self.count:
            return 0.0, 0.0
        heights = np.sort(np.array(self.slices) @ normal)
        height = heights[-1] - heights[0]
        longest = float(np.linalg.norm(np.ptp(np.array(self.slices), axis=0)))
        if height < _PARALLEL * longest:
            return 0.0, 0.0  # of another orientation
        distances = np.diff(heights)
        if np.ptp(distances) > _EVEN * distances.mean():
            raise _refused("the protocol has slices at uneven distances")
        below, above = np.abs(float(middle @ normal) - heights[[0, -1]])
        forward = 0.0 if min(below, above) > _NEAR * height else 1.0 if below < above else -1.0
        return float(distances.mean()), forward


def read_mosaic(values: Item) -> Mosaic | None:
    """Return what a header says of its mosaic, None if it is not of one.

    The number of slices is that of (0019,xx0A), that of the CSA image header, or the number of
    slices of the protocol in the CSA series header.

    Raises
    ------
    BadInstanceError
        UNSUPPORTED_MULTIFRAME if nothing says how many slices there are, or that differs.
    """
    if "MOSAIC" not in values.tokens("ImageType"):
        return None
    image = read_csa(_csa(values, 0x10))
    series = read_csa(_csa(values, 0x20))
    protocol = series.get("MrPhoenixProtocol") or series.get("MrProtocol") or ("",)
    volume = values.code("MRAcquisitionType") == "3D"  # whose protocol has slabs, not slices
    slices = () if volume else read_slices(protocol[0])
    if any(not abs(coordinate) < FARTHEST_MM for place in slices for coordinate in place):
        slices = ()
    stated = values.private(0x0019, "SIEMENS MR HEADER", 0x0A)
    counts = {int.from_bytes(stated, values.byteorder)} if len(stated) == 2 else set()
    counts |= {int(number) for number in _numbers(image.get("NumberOfImagesInMosaic", ()), 1)}
    counts = counts or ({len(slices)} if len(slices) > 1 else set())
    if not counts:
        raise _refused("nothing says how many slices this mosaic has")
    if len(counts) > 1 or not 0 < min(counts) <= _MOST:
        raise _refused(f"a mosaic of {' or '.join(map(str, sorted(counts)))} slices")
    normal = _numbers(image.get("SliceNormalVector", ()), 3)
    distance = values.number("SpacingBetweenSlices")
    return Mosaic(
        counts.pop(), (normal[0], normal[1], normal[2]) if normal else None,
        distance if distance and 0 < distance < FARTHEST_MM else None, slices,
    )  # fmt: skip


def _csa(values: Item, element: int) -> bytes:
    """Return a CSA header, also where only the name of its block has been removed."""
    found = values.private(0x0029, "SIEMENS CSA HEADER", element)
    if not found:
        alone = values.private(0x0029, "", element)
        found = alone if alone.startswith(b"SV10") else b""
    return found


def _numbers(texts: Sequence[str], count: int) -> tuple[float, ...]:
    """Return so many finite numbers, none if they are not."""
    try:
        found = tuple(map(float, texts))
    except ValueError:
        return ()
    return found if len(found) == count and all(map(math.isfinite, found)) else ()


def _refused(message: str) -> BadInstanceError:
    return BadInstanceError(ProblemCode.UNSUPPORTED_MULTIFRAME, message)
