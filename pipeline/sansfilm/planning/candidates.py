"""Attributes that may tell frames at one place apart: what each means, how it is read."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Value = float | str

_DAY_S = 86400.0
_TIMES_OF_DAY = frozenset({"AcquisitionTime", "ContentTime"})
_COMPONENTS = {
    "M": "MAGNITUDE", "MAGNITUDE": "MAGNITUDE",
    "P": "PHASE", "PHASE": "PHASE", "PHASE MAP": "PHASE",
    "R": "REAL", "REAL": "REAL",
    "I": "IMAGINARY", "IMAGINARY": "IMAGINARY",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """One attribute: its DICOM keyword, the axis that it makes, its unit, how far it goes.

    What is "stated" says which frame is which. What is "counted", in seconds or in numbers, runs
    on through the scan and may differ from slice to slice. What is "paced" begins anew with each
    heartbeat or breath, at the pace that the patient had at the slice.
    """

    keyword: str
    name: str
    unit: str = ""
    kind: Literal["stated", "counted", "paced"] = "stated"


COMPONENT = Source("ComplexImageComponent", "component")

QUALIFIERS = (
    Source("DiffusionBValue", "b", "s/mm2"),
    Source("DiffusionGradientOrientation", "b"),
    Source("DiffusionDirectionality", "b"),
    Source("EffectiveEchoTime", "echo", "ms"),
    Source("EchoTime", "echo", "ms"),
    Source("EchoNumbers", "echo"),
    Source("InversionTimes", "inversion", "ms"),
    Source("InversionTime", "inversion", "ms"),
    Source("FlipAngle", "flip", "deg"),
    Source("VelocityEncodingDirection", "velocity"),
    COMPONENT,
    Source("ImageType", "image_type"),
    Source("FrameType", "image_type"),
    Source("ASLContext", "asl"),
    Source("ContrastBolusAgentPhase", "phase"),
    Source("EnergyWindowNumber", "energy"),
    Source("EnergyWindowVector", "energy"),
    Source("DetectorNumber", "detector"),
    Source("DetectorVector", "detector"),
    Source("StackID", "stack"),
)
"""What frames differ in beside time. One that adds nothing to those before it is not used."""

MOMENTS = (
    Source("TemporalPositionIdentifier", "t"),
    Source("TemporalPositionIndex", "t"),
    Source("NominalPercentageOfCardiacPhase", "t", "%"),
    Source("NominalPercentageOfRespiratoryPhase", "t", "%"),
    Source("NominalCardiacTriggerDelayTime", "t", "ms"),
    Source("NominalRespiratoryTriggerDelayTime", "t", "ms"),
    Source("PhaseVector", "t"),
    Source("TimeSlotVector", "t"),
    Source("TimeSliceVector", "t"),
)
"""Positions in time that the object states."""

MEASURED = (
    Source("InversionTime", "inversion", "ms", "counted"),
    Source("FrameTime", "t", "ms", "counted"),
    Source("TemporalPositionTimeOffset", "t", "s", "counted"),
    Source("NominalCardiacTriggerDelayTime", "t", "ms", "paced"),
    Source("NominalRespiratoryTriggerDelayTime", "t", "ms", "paced"),
    Source("TriggerTime", "t", "ms", "paced"),
    Source("FrameReferenceTime", "t", "ms", "counted"),
    Source("FrameAcquisitionDateTime", "t", "s", "counted"),
    Source("FrameReferenceDateTime", "t", "s", "counted"),
    Source("AcquisitionDateTime", "t", "s", "counted"),
    Source("AcquisitionTime", "t", "s", "counted"),
    Source("FrameAcquisitionNumber", "t", "", "counted"),
    Source("AcquisitionNumber", "t", "", "counted"),
    Source("ContentTime", "t", "s", "counted"),
)
"""When frames were made, the best first."""

INSTANCE = Source("InstanceNumber", "i", "", "counted")
"""The last resort."""

_NO_AXES = frozenset({"NumberOfTemporalPositions", "SliceLocation", "SliceLocationVector"})
_NAMES = {source.keyword: source.name for source in (*MEASURED, *QUALIFIERS, *MOMENTS, INSTANCE)}


def other_sources(keywords: set[str]) -> list[Source]:
    """Return sources for keywords without a rule of their own, dimension indexes among them.

    ``Dimension:<name>`` makes the axis of the attribute that it points to, if that is known.
    """
    found = []
    for keyword in sorted(keywords - _NAMES.keys() - _NO_AXES):
        pointed = keyword.removeprefix("Dimension:")
        joined = "".join(pointed.split())
        temporal = joined.startswith("Temporal")
        found.append(Source(keyword, "t" if temporal else _NAMES.get(joined, _snake(pointed))))
    return found


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return re.sub(r"[^a-z0-9]+", "_", words).strip("_") or "other"


def read_column(frames: Sequence[Mapping[str, Value]], keyword: str) -> list[Value | None]:
    """Return the value of each frame, None where it has none; times of day run past midnight."""
    if keyword == COMPONENT.keyword:
        return [_component(values) for values in frames]
    column = [_clean(values.get(keyword)) for values in frames]
    return _unwrap(column) if keyword in _TIMES_OF_DAY else column


def _clean(value: Value | None) -> Value | None:
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    return float(value) + 0.0 if math.isfinite(value) else None  # + 0.0: no minus zero


def _component(values: Mapping[str, Value]) -> str | None:
    """Return the part of the complex signal: as stated, or as Image Type has it (M, P, R, I).

    Philips writes ``M_FFE`` and ``M``, ``PHASE MAP`` and ``P``; Siemens ``M`` and ``P``.
    """
    stated = _clean(values.get(COMPONENT.keyword))
    if stated is not None and stated != "MIXED":
        return str(stated)
    image_type = str(values.get("FrameType") or values.get("ImageType") or "")
    for part in image_type.upper().split("\\")[2:]:
        name = part.strip()
        name = name[:1] if name[1:2] == "_" else name
        if name in _COMPONENTS:
            return _COMPONENTS[name]
    return None


def _unwrap(column: list[Value | None]) -> list[Value | None]:
    """Let a day begin after the longest pause, so that a scan across midnight stays in order."""
    times = sorted({value for value in column if isinstance(value, float)})
    if not times:
        return column
    pauses = [later - time for time, later in pairwise(times)]
    longest = max(pauses, default=0.0)
    if longest <= times[0] + _DAY_S - times[-1]:
        return column
    last = times[pauses.index(longest)]
    return [v + _DAY_S if isinstance(v, float) and v <= last else v for v in column]
