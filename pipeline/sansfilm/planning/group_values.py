"""What functional groups say beyond place and values: table by table (PS3.3 C.7.6.16.2 and C.8).

Each group has axes, which may tell frames at one place apart, and extra, which helps a researcher.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sansfilm.planning.items import Item, joined

Axes = dict[str, float | str]

GROUPS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "FrameContentSequence": (
        (
            "TemporalPositionIndex",
            "FrameAcquisitionNumber",
            "FrameAcquisitionDateTime",
            "FrameReferenceDateTime",
            "StackID",
        ),
        ("InStackPositionNumber", "FrameAcquisitionDuration"),
    ),
    "TemporalPositionSequence": (("TemporalPositionTimeOffset",), ()),
    "CardiacSynchronizationSequence": (
        ("NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase"),
        ("RRIntervalTimeNominal",),
    ),
    "RespiratorySynchronizationSequence": (
        ("NominalRespiratoryTriggerDelayTime", "NominalPercentageOfRespiratoryPhase"),
        (),
    ),
    "ContrastBolusUsageSequence": (
        ("ContrastBolusAgentPhase", "ContrastBolusAgentAdministered"),
        (),
    ),
    "SegmentIdentificationSequence": (("ReferencedSegmentNumber",), ()),
    # MR
    "MRImageFrameTypeSequence": (
        ("FrameType", "ComplexImageComponent", "AcquisitionContrast"),
        (),
    ),
    "MREchoSequence": (("EffectiveEchoTime",), ()),
    "MRDiffusionSequence": (("DiffusionBValue", "DiffusionDirectionality"), ()),
    "MRTimingAndRelatedParametersSequence": (
        ("RepetitionTime", "FlipAngle"),
        ("EchoTrainLength",),
    ),
    "MRModifierSequence": (("InversionTimes", "InversionTime"), ()),
    "MRImagingModifierSequence": (("MagnetizationTransfer",), ("PixelBandwidth",)),
    "MRAveragesSequence": ((), ("NumberOfAverages",)),
    "MRMetaboliteMapSequence": (("MetaboliteMapDescription",), ()),
    "MRVelocityEncodingSequence": (
        (
            "VelocityEncodingDirection",
            "VelocityEncodingMinimumValue",
            "VelocityEncodingMaximumValue",
        ),
        (),
    ),
    "MRArterialSpinLabelingSequence": (("ASLContext",), ("ASLTechniqueDescription",)),
    "MRReceiveCoilSequence": (("ReceiveCoilName",), ()),
    # CT
    "CTImageFrameTypeSequence": (("FrameType",), ()),
    "CTAcquisitionTypeSequence": ((), ("AcquisitionType",)),
    "CTReconstructionSequence": (("ConvolutionKernel",), ("ReconstructionAlgorithm",)),
    "CTXRayDetailsSequence": (("KVP",), ()),
    "CTExposureSequence": (
        (),
        ("ExposureTimeInms", "XRayTubeCurrentInmA", "ExposureInmAs", "CTDIvol"),
    ),
    # PET, X-ray 3D, ultrasound, maps
    "PETFrameTypeSequence": (("FrameType",), ()),
    "PETFrameCorrectionFactorsSequence": (
        (),
        ("DecayFactor", "SliceSensitivityFactor", "ScatterFractionFactor", "DeadTimeFactor"),
    ),
    "XRay3DFrameTypeSequence": (("FrameType",), ()),
    "USImageDescriptionSequence": (("FrameType",), ()),
    "ImageDataTypeSequence": (("DataType",), ()),
    "ParametricMapFrameTypeSequence": (("FrameType",), ()),
    # whole-slide
    "WholeSlideMicroscopyImageFrameTypeSequence": (("FrameType",), ()),
    "OpticalPathIdentificationSequence": (("OpticalPathIdentifier",), ()),
    "PlanePositionSlideSequence": (
        ("ZOffsetInSlideCoordinateSystem",),
        (
            "XOffsetInSlideCoordinateSystem",
            "YOffsetInSlideCoordinateSystem",
            "ColumnPositionInTotalImagePixelMatrix",
            "RowPositionInTotalImagePixelMatrix",
        ),
    ),
    # converted from classic instances (PS3.3 C.7.6.16.2.25 and on)
    "UnassignedPerFrameConvertedAttributesSequence": (
        (
            "TemporalPositionIdentifier",
            "TriggerTime",
            "AcquisitionNumber",
            "AcquisitionTime",
            "ContentTime",
            "EchoTime",
            "EchoNumbers",
        ),
        ("InstanceNumber",),
    ),
    "ConversionSourceAttributesSequence": ((), ("ReferencedSOPInstanceUID",)),
}
"""Group -> (axes, extra), by DICOM keyword."""


def read_group(keyword: str, items: Sequence[Item]) -> tuple[Axes, dict[str, Any]]:
    """Return axes and extra of one group; values of several items are joined by backslashes."""
    axes, extra = GROUPS[keyword]
    found = _values(axes, items), _values(extra, items)
    if (special := _SPECIAL.get(keyword)) is not None:
        special(items, *found)
    return found


def _values(keywords: Sequence[str], items: Sequence[Item]) -> Axes:
    found: Axes = {}
    for keyword in keywords:
        values = [value for item in items if (value := item.value(keyword)) is not None]
        if len(values) == 1:
            found[keyword] = values[0]
        elif values:
            found[keyword] = "\\".join(map(str, values))
    return found


def _add_gradient(items: Sequence[Item], axes: Axes, _: dict[str, Any]) -> None:
    """Add the direction of the gradient (PS3.3 C.8.13.5.9), "" where there is none."""
    directions = [
        direction.numbers("DiffusionGradientOrientation")
        for item in items
        for direction in item.items("DiffusionGradientDirectionSequence")
    ]
    axes["DiffusionGradientOrientation"] = joined(directions[0]) if directions else ""


_SPECIAL: Mapping[str, Callable[[Sequence[Item], Axes, dict[str, Any]], None]] = {
    "MRDiffusionSequence": _add_gradient,
}
