"""Dimension indices of multi-frame objects (PS3.3 C.7.6.17): what the frames are counted by."""

from collections import Counter
from collections.abc import Sequence

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.planning.attributes import ATTRIBUTES
from sansfilm.planning.items import Item

_PLACES = frozenset(
    {
        "ColumnPositionInTotalImagePixelMatrix",
        "ImagePositionPatient",
        "ImagePositionVolume",
        "InStackPositionNumber",
        "PlanePositionSequence",
        "PlanePositionSlideSequence",
        "PlanePositionVolumeSequence",
        "RowPositionInTotalImagePixelMatrix",
    }
)
"""What dimensions point to that count positions: those do not tell frames at one place apart."""


def read_names(top: Item) -> list[str]:
    """Return the name of each dimension, in the order of the indices; "" for positions.

    The name is the Dimension Description Label, else the keyword of the attribute that the
    index stands for. Where several dimensions would share a name, each gets its number.
    """
    names = []
    for item in top.items("DimensionIndexSequence"):
        pointer = next(iter(item.tags("DimensionIndexPointer")), 0)
        keyword = _keyword(pointer)
        names.append(
            "" if keyword in _PLACES else item.text("DimensionDescriptionLabel") or keyword
        )
    several = {name for name, count in Counter(names).items() if name and count > 1}
    return [
        f"{name} {number}" if name in several else name
        for number, name in enumerate(names, start=1)
    ]


def read_indices(content: Item) -> tuple[int, ...]:
    """Return Dimension Index Values of a Frame Content item; empty if there are none."""
    indices = tuple(int(index) for index in content.numbers("DimensionIndexValues"))
    if not indices and "DimensionIndexValues" in content:
        raise BadInstanceError(ProblemCode.BAD_VALUE, "DimensionIndexValues are not numbers")
    return indices


def axes(names: Sequence[str], indices: Sequence[int]) -> dict[str, float | str]:
    """Return the indices that are no positions, as ``Dimension:<name>``.

    Without a Dimension Index Sequence nothing says what is counted, and there are none.

    Raises
    ------
    BadInstanceError
        BAD_VALUE if there are more or fewer indices than dimensions.
    """
    if not names:
        return {}
    if len(names) != len(indices):
        message = f"{len(indices)} DimensionIndexValues, {len(names)} dimensions"
        raise BadInstanceError(ProblemCode.BAD_VALUE, message)
    return {f"Dimension:{name}": index for name, index in zip(names, indices, strict=True) if name}


def _keyword(tag: int) -> str:
    for keyword, (known, _) in ATTRIBUTES.items():
        if known == tag:
            return keyword
    from pydicom.datadict import keyword_for_tag  # loaded only when it is needed

    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
