"""Attribute values out of a walked dataset: strict where a wrong value would place pixels wrongly.

Names are DICOM keywords; the kinds follow PS3.6. ``need_*`` raise BAD_VALUE, the others return
None, or empty text, for what is absent or unreadable. Nothing is cut short: a value too long to be
meant is unreadable.
"""

import math
import re
import struct
from collections.abc import Mapping
from functools import cached_property, lru_cache

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.planning.charset import decode_text
from sansfilm.planning.dataset import EXPLICIT_BE, Walked

TAGS: Mapping[str, int] = {
    "SpecificCharacterSet": 0x00080005,
    "ImageType": 0x00080008,
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyDate": 0x00080020,
    "AcquisitionDate": 0x00080022,
    "AcquisitionTime": 0x00080032,
    "Modality": 0x00080060,
    "PatientName": 0x00100010,
    "PatientID": 0x00100020,
    "IssuerOfPatientID": 0x00100021,
    "PatientBirthDate": 0x00100030,
    "PatientSex": 0x00100040,
    "BodyPartExamined": 0x00180015,
    "SliceThickness": 0x00180050,
    "KVP": 0x00180060,
    "RepetitionTime": 0x00180080,
    "EchoTime": 0x00180081,
    "InversionTime": 0x00180082,
    "SpacingBetweenSlices": 0x00180088,
    "ExposureTime": 0x00181150,
    "XRayTubeCurrent": 0x00181151,
    "Exposure": 0x00181152,
    "ConvolutionKernel": 0x00181210,
    "FlipAngle": 0x00181314,
    "DiffusionBValue": 0x00189087,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "AcquisitionNumber": 0x00200012,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "FrameOfReferenceUID": 0x00200052,
    "TemporalPositionIdentifier": 0x00200100,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "PlanarConfiguration": 0x00280006,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "PixelPaddingValue": 0x00280120,
    "PixelPaddingRangeLimit": 0x00280121,
    "WindowCenter": 0x00281050,
    "WindowWidth": 0x00281051,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "RescaleType": 0x00281054,
    "WindowCenterWidthExplanation": 0x00281055,
    "VOILUTFunction": 0x00281056,
    "LossyImageCompression": 0x00282110,
    "LossyImageCompressionRatio": 0x00282112,
    "LossyImageCompressionMethod": 0x00282114,
    "ModalityLUTSequence": 0x00283000,
    "Units": 0x00541001,
    "SharedFunctionalGroupsSequence": 0x52009229,
    "PerFrameFunctionalGroupsSequence": 0x52009230,
}
_LONGEST = 2**16
"""Bytes of the longest value that is read."""
_OFTEN = 128
"""Bytes of the longest value that is kept, since the next file may have it too."""
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d{1,10}", re.ASCII)
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_CODE = re.compile(r"[A-Za-z0-9 _]{1,16}")
_WORDS = frozenset({b"", b"US", b"SS", b"UN", b"OW"})


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID that is safe as a key (PS3.5 section 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _tokens(raw: bytes) -> list[str]:
    whole = raw.decode("latin-1").strip(" \0")
    return [part.strip(" ") for part in whole.split("\\")] if whole else []


@lru_cache(maxsize=1024)
def _decimals(raw: bytes) -> tuple[float, ...] | None:
    """Return decimal strings as floats; most values are the same in all slices of a series."""
    parts = _tokens(raw)
    if not parts or not all(map(_DECIMAL.fullmatch, parts)):
        return None
    numbers = tuple(float(part) for part in parts)
    return numbers if all(map(math.isfinite, numbers)) else None


class Values:
    """Typed access to the top-level values of one dataset."""

    def __init__(self, buffer: bytes, walked: Walked, syntax: str) -> None:
        self._buffer, self._walked = buffer, walked
        self._order = ">" if syntax == EXPLICIT_BE else "<"

    def __contains__(self, keyword: str) -> bool:
        """Tell whether an element is there and not empty."""
        return self._walked.elements.get(TAGS[keyword], (b"", 0, 0))[2] != 0

    def raw(self, keyword: str) -> bytes | None:
        """Return the bytes of a value, None if it is absent or longer than any text may be."""
        element = self._walked.elements.get(TAGS[keyword])
        if element is None or element[2] > _LONGEST:
            return None
        return self._buffer[element[1] : element[1] + element[2]]

    def _once(self, keyword: str) -> None:
        if TAGS[keyword] in self._walked.repeated:
            raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} stands twice")

    def blank(self, keyword: str) -> bool:
        """Tell whether an element is absent, empty, or padding only."""
        raw = self.raw(keyword)
        return keyword not in self if raw is None else not raw.strip(b" \0")

    def token(self, keyword: str) -> str:
        """Return a value as it stands, without its padding; "" if absent. Bytes become Latin-1."""
        return (self.raw(keyword) or b"").decode("latin-1").strip(" \0")

    def tokens(self, keyword: str) -> list[str]:
        """Return a multi-valued value as it stands."""
        return _tokens(self.raw(keyword) or b"")

    def code(self, keyword: str) -> str:
        """Return the first of a value's code strings (VR CS), "" if there is none or it is not one.

        Whatever comes out is short and printable.
        """
        code = next(iter(self.tokens(keyword)), "")
        return code if _CODE.fullmatch(code) else ""

    def text(self, keyword: str) -> str:
        """Return a value as one line of text in its character set; "" if absent."""
        raw = self.raw(keyword)
        return decode_text(raw, self._charsets) if raw else ""

    @cached_property
    def _charsets(self) -> list[str]:
        return self.tokens("SpecificCharacterSet")

    def floats(self, keyword: str) -> list[float] | None:
        """Return decimal strings as floats; None if absent, empty or not finite numbers."""
        raw = self.raw(keyword)
        if not raw:
            return None
        found = _decimals(raw) if len(raw) <= _OFTEN else _decimals.__wrapped__(raw)
        return None if found is None else list(found)

    def number(self, keyword: str) -> float | None:
        """Return the first decimal string, None if there is none."""
        numbers = self.floats(keyword)
        return numbers[0] if numbers else None

    def integer(self, keyword: str) -> int | None:
        """Return an integer string, None if absent or not one."""
        text = self.token(keyword)
        return int(text) if _INTEGER.fullmatch(text) else None

    def double(self, keyword: str) -> float | None:
        """Return one binary double (VR FD), None if absent or not finite."""
        raw = self.raw(keyword)
        number = struct.unpack(self._order + "d", raw)[0] if raw and len(raw) == 8 else math.nan
        return number if math.isfinite(number) else None

    def need_floats(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return exactly `count` finite floats, None if the element is absent or empty."""
        self._once(keyword)
        numbers = self.floats(keyword)
        if numbers is not None and len(numbers) == count:
            return tuple(numbers)
        if keyword not in self or (self.raw(keyword) is not None and not self.token(keyword)):
            return None
        raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} must be {count} finite numbers")

    def need_number(self, keyword: str, default: float) -> float:
        """Return one finite float, `default` if the element is absent or empty."""
        numbers = self.need_floats(keyword, 1)
        return default if numbers is None else numbers[0]

    def unsigned(self, keyword: str, default: int | None = None) -> int:
        """Return one 16-bit integer (VR US)."""
        return self._word(keyword, "H", default)

    def signed(self, keyword: str, default: int | None = None) -> int:
        """Return one 16-bit integer (VR SS), also where the element was written as VR US."""
        return self._word(keyword, "h", default)

    def _word(self, keyword: str, layout: str, default: int | None) -> int:
        self._once(keyword)
        vr, start, length = self._walked.elements.get(TAGS[keyword], (b"", 0, 0))
        if length == 0:
            if default is None:
                raise BadInstanceError(ProblemCode.BAD_VALUE, f"{keyword} is missing")
            return default
        if vr not in _WORDS or length != 2:
            found = f"VR {vr.decode() or 'unknown'} of {length} bytes"
            message = f"{keyword} must be one 16-bit integer, found {found}"
            raise BadInstanceError(ProblemCode.BAD_VALUE, message)
        return int(struct.unpack_from(self._order + layout, self._buffer, start)[0])

    def uid(self, keyword: str, *, required: bool = True) -> str:
        """Return a UID that is safe as a key; "" if absent and not required.

        Raises
        ------
        BadInstanceError
            BAD_UID.
        """
        self._once(keyword)
        if self.blank(keyword) and not required:
            return ""
        text = (self.raw(keyword) or b"").rstrip(b" \0").decode("latin-1")
        if not is_uid(text):
            what = "is missing" if self.blank(keyword) else "is not digits and dots, 64 at most"
            raise BadInstanceError(ProblemCode.BAD_UID, f"{keyword} {what}")
        return text
