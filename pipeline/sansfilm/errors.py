"""What can go wrong: exceptions for wrong calls and runs that cannot go on, Problems for input.

::

    SansfilmError
    ├── OptionError            (ValueError)         a wrong option or argument
    ├── SourceNotFoundError    (FileNotFoundError)  a source path that does not exist
    ├── SourceLostError        (RuntimeError)       the storage of the sources does not answer
    ├── ArchiveNotFoundError   (FileNotFoundError)  no archive at this URL
    ├── VolumeNotFoundError    (LookupError)        no such series or volume, or several
    ├── TargetError            (OSError)            the archive cannot be written
    ├── DeviceError            (RuntimeError)       a GPU was asked for and there is none
    ├── MissingPackageError    (ImportError)        an optional package is needed
    ├── FrameDecodeError       (ValueError)         the codestream of one frame is bad
    ├── BadInstanceError       (ValueError)         one instance cannot be used (becomes a Problem)
    └── IntegrityError         (RuntimeError)       stored bytes are not what was committed

Every class keeps all its arguments in ``args`` and makes its text in ``__str__``, so that it
survives pickling on its way home from a worker.
"""

from dataclasses import dataclass
from enum import StrEnum


class SansfilmError(Exception):
    """Base of all exceptions that sansfilm raises on purpose."""

    def __str__(self) -> str:
        return ": ".join(str(part) for part in self.args)


class OptionError(SansfilmError, ValueError):
    """A wrong option or argument; the message says what is allowed."""


class SourceNotFoundError(SansfilmError, FileNotFoundError):
    """A source that was named does not exist."""


class SourceLostError(SansfilmError, RuntimeError):
    """The storage that sources are on does not answer, or knows us no more: no fault of a file."""


class ArchiveNotFoundError(SansfilmError, FileNotFoundError):
    """There is no sansfilm archive at this URL."""


class VolumeNotFoundError(SansfilmError, LookupError):
    """The archive has no such series or volume, or the name fits several volumes."""


class TargetError(SansfilmError, OSError):
    """The archive cannot be written or read: permission, space, network."""


class DeviceError(SansfilmError, RuntimeError):
    """The device that was asked for is not there."""


class MissingPackageError(SansfilmError, ImportError):
    """An optional package is not installed; the message says which."""


class FrameDecodeError(SansfilmError, ValueError):
    """A decoder refused the codestream of one frame."""


class IntegrityError(SansfilmError, RuntimeError):
    """Stored bytes are missing or differ from the commit record."""


class ProblemWarning(UserWarning):
    """Some files could not be used where no report tells of them."""


class ProblemCode(StrEnum):
    """Stable reason codes; `DESCRIPTIONS` explains each to people."""

    EMPTY_SOURCE = "EMPTY_SOURCE"
    UNREADABLE = "UNREADABLE"
    UNSAFE_ARCHIVE = "UNSAFE_ARCHIVE"
    NOT_DICOM = "NOT_DICOM"
    TRUNCATED = "TRUNCATED"
    BAD_LENGTH = "BAD_LENGTH"
    TOO_DEEP = "TOO_DEEP"
    TOO_MANY_ELEMENTS = "TOO_MANY_ELEMENTS"
    BUDGET = "BUDGET"
    BAD_VALUE = "BAD_VALUE"
    BAD_UID = "BAD_UID"
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    PIXEL_LENGTH = "PIXEL_LENGTH"
    BAD_FRAGMENTS = "BAD_FRAGMENTS"
    UNSUPPORTED_SYNTAX = "UNSUPPORTED_SYNTAX"
    UNSUPPORTED_OBJECT = "UNSUPPORTED_OBJECT"
    UNSUPPORTED_MULTIFRAME = "UNSUPPORTED_MULTIFRAME"
    UNSUPPORTED_PIXELS = "UNSUPPORTED_PIXELS"
    BAD_LUT = "BAD_LUT"
    CONFLICT = "CONFLICT"
    CODESTREAM_MISMATCH = "CODESTREAM_MISMATCH"
    MISSING_CODEC = "MISSING_CODEC"
    DECODE_FAILED = "DECODE_FAILED"
    TIMEOUT = "TIMEOUT"
    DECODER_WRONG = "DECODER_WRONG"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    INCOMPLETE_VOLUME = "INCOMPLETE_VOLUME"
    WORKER_LOST = "WORKER_LOST"


DESCRIPTIONS: dict[ProblemCode, str] = {
    ProblemCode.EMPTY_SOURCE: "The source holds no file.",
    ProblemCode.UNREADABLE: "The file cannot be opened or read.",
    ProblemCode.UNSAFE_ARCHIVE: "A zip or tar file, or a member of it, is not safe to open.",
    ProblemCode.NOT_DICOM: "The file is not DICOM (no preamble with DICM, PS3.10 section 7.1).",
    ProblemCode.TRUNCATED: "The file ends before its dataset does.",
    ProblemCode.BAD_LENGTH: "An element declares a length that cannot be.",
    ProblemCode.TOO_DEEP: "Sequences are nested deeper than the budget allows.",
    ProblemCode.TOO_MANY_ELEMENTS: "The dataset has more elements than the budget allows.",
    ProblemCode.BUDGET: "The header, the frame count or the pixels exceed the budget.",
    ProblemCode.BAD_VALUE: "An attribute that is needed is missing or has an impossible value.",
    ProblemCode.BAD_UID: "A UID is missing or is not made of digits and dots (PS3.5 section 9.1).",
    ProblemCode.NO_PIXEL_DATA: "An image without its Pixel Data, or what no UID identifies.",
    ProblemCode.PIXEL_LENGTH: "Pixel Data is shorter or longer than the image needs.",
    ProblemCode.BAD_FRAGMENTS: "The fragments of encapsulated Pixel Data cannot be followed.",
    ProblemCode.UNSUPPORTED_SYNTAX: "The transfer syntax is not one that sansfilm decodes.",
    ProblemCode.UNSUPPORTED_OBJECT: "This kind of object is not placed yet: a surface, say.",
    ProblemCode.UNSUPPORTED_MULTIFRAME: "Nothing says how the slices of a mosaic lie.",
    ProblemCode.UNSUPPORTED_PIXELS: "Pixels of a format or a colour model that is not stored.",
    ProblemCode.BAD_LUT: "A palette or Modality LUT is missing or does not fit its descriptor.",
    ProblemCode.CONFLICT: "One SOP Instance UID stands for different contents.",
    ProblemCode.CODESTREAM_MISMATCH: "The codestream does not hold the image the header describes.",
    ProblemCode.MISSING_CODEC: "No installed decoder reads this transfer syntax.",
    ProblemCode.DECODE_FAILED: "The decoder refused the codestream, or died of it.",
    ProblemCode.TIMEOUT: "Decoding took longer than the budget allows.",
    ProblemCode.DECODER_WRONG: "A decoder gave wrong values, or none; others took over.",
    ProblemCode.SOURCE_CHANGED: "The source changed between planning and decoding.",
    ProblemCode.INCOMPLETE_VOLUME: "Other frames of the volume failed, so it was not stored.",
    ProblemCode.WORKER_LOST: "The task that held this frame failed or lost its worker.",
}


class BadInstanceError(SansfilmError, ValueError):
    """One instance, or one frame of it, cannot be used; carries what its Problem will say.

    Parameters
    ----------
    code : ProblemCode
    message : str
        What was found and what was expected; never patient data.
    """

    @property
    def code(self) -> ProblemCode:
        """The reason code, first of the arguments."""
        return ProblemCode(self.args[0])

    @property
    def message(self) -> str:
        """The sentence for people, second of the arguments."""
        return str(self.args[1])


@dataclass(frozen=True, slots=True)
class Problem:
    """One file or frame that could not be used as it is; the run goes on.

    `frames` is the number of frames that this record accounts for: the frames of all stored
    volumes plus those of all Problems equal the frames found.
    """

    uri: str
    stage: str
    code: ProblemCode
    message: str
    series_uid: str | None = None
    frame: int | None = None
    frames: int = 0
