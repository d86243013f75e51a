"""The nouns that travel between the stages: small, frozen, picklable, without pixels.

Axis order everywhere: ``(z, y, x)`` for stacks with a place in the patient, ``(i, y, x)`` for
images without one. Millimetres; patient coordinates are DICOM's LPS (PS3.3 C.7.6.2.1.1).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from sansfilm.errors import Problem

Vector = tuple[float, float, float]
Matrix = tuple[tuple[float, ...], ...]

HEADER_CHUNK = 2**20
"""Bytes in one chunk of ``dicom/headers``."""

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""How independent pieces of a task are computed: the builtin map, or that of a thread pool."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file that may be an instance. `size` in bytes."""

    uri: str
    size: int
    modified_ns: int | None = None


@dataclass(frozen=True, slots=True)
class PixelLocation:
    """Where the codestream of a single-frame instance lies in its file.

    Offsets count from the first byte of the file; for a deflated dataset (PS3.5 A.5) from the
    first byte of the inflated dataset, whose file meta information is `prefix` bytes long.
    `element_offset` to `element_end` is the whole Pixel Data element: the header is everything
    outside of it, `total` being the end.
    """

    element_offset: int
    element_end: int
    total: int
    parts: tuple[tuple[int, int], ...]
    prefix: int = 0

    @property
    def header_length(self) -> int:
        """Bytes of the instance outside Pixel Data, file meta information included."""
        return self.prefix + self.element_offset + self.total - self.element_end


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What a decoder must know of a frame; names as in PS3.3 C.7.6.3."""

    transfer_syntax: str
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int
    photometric: str


@dataclass(frozen=True, slots=True)
class Window:
    """One VOI window (PS3.3 C.11.2.1.2): centre and width in modality values."""

    center: float
    width: float
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the image is of; goes to the patients table and to nothing else, reprs least of all."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    name: str = field(repr=False)
    birth_date: str = field(repr=False)
    sex: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFacts:
    """What a header says of one frame: from the top level, or from its functional groups.

    `axes` has the attributes that may tell frames at one place apart (time, echo, b-value), by
    DICOM keyword; `extra` what else helps a researcher.
    """

    position: Vector | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, float] | None
    slice_thickness: float | None
    slope: float
    intercept: float
    unit: str
    windows: tuple[Window, ...]
    voi_function: str
    axes: Mapping[str, float | str]
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Header:
    """What the stages need to know of one single-frame instance."""

    uri: str
    size: int
    modified_ns: int | None
    sha256: str
    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str | None
    modality: str
    spec: FrameSpec
    pixels: PixelLocation
    position: Vector | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, float] | None
    slice_thickness: float | None
    slope: float
    intercept: float
    unit: str
    windows: tuple[Window, ...]
    voi_function: str
    padding: tuple[int, int] | None
    instance_number: int | None
    lossy: tuple[bool, str, float | None]
    identity: Identity
    extra: Mapping[str, Any]

    number_of_frames = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the geometry of a stack turned out to be: code, the numbers behind it, a sentence."""

    code: str
    numbers: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Rescale:
    """How stored values became level-0 values.

    ``applied`` is "integer" (level 0 holds modality values as integers), "attributes" (level 0
    holds stored values; scale_factor and add_offset say the rest) or "per_frame" (level 0 holds
    floating modality values; the frame table has each slope and intercept).
    """

    slope: float
    intercept: float
    unit: str
    applied: str


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One resolution level: shapes in voxels, factors relative to level 0, per axis."""

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    factors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """One volume to be: its frames in index order and everything that decides its bytes.

    `orientation` says where each array axis (z, y, x) points, in the words of OME-NGFF RFC-4; it
    is empty for images without a place in the patient.
    """

    volume_id: str
    series_uid: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    frames: tuple[Header, ...]
    verdict: Verdict
    affine_lps: Matrix | None
    spacing_mm: tuple[float | None, ...]
    rescale: Rescale
    padding: tuple[float, float] | None
    patient_key: str
    orientation: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Where the volume lies below the archive."""
        return f"series/{self.series_uid}/{self.volume_id}"


@dataclass(frozen=True, slots=True)
class SlabPlan:
    """One task: decode the frames of one shard along the first axis and write all its levels.

    `volume` is the volume's key below the archive; the headers of the frames go into the chunks
    of ``dicom/headers`` from number `header_chunk` on.
    """

    volume: str
    index: int
    frames: tuple[Header, ...]
    levels: tuple[LevelPlan, ...]
    dtype: str
    rescale: Rescale
    padding: tuple[float, float] | None
    header_chunk: int
    compression_level: int
    prefer: tuple[str, ...]

    @property
    def header_ends(self) -> list[int]:
        """Where each header ends in ``dicom/headers``; the first starts on a chunk."""
        lengths = (frame.pixels.header_length for frame in self.frames)
        return list(accumulate(lengths, initial=self.header_chunk * HEADER_CHUNK))[1:]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as it was written: key below the volume, bytes, digest."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What came of one frame: digest of its stored values and who decoded it, or the Problem."""

    sop_instance_uid: str
    pixel_digest: str = ""
    decoder: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class SlabResult:
    """What a slab task did; `objects` is empty when a frame failed."""

    index: int
    objects: tuple[StoredObject, ...]
    frames: tuple[FrameResult, ...]
    value_range: tuple[float, float] = (0.0, 0.0)
    bytes_read: int = 0
    bytes_decoded: int = 0


@dataclass(slots=True)
class Report:
    """What an ingest did. `volumes` as `ls --json` prints them; see `to_json` for the rest."""

    volumes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("seen", "dicom", "images", "ingested", "skipped"), 0)
    )
    frames: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("found", "stored", "in_problems"), 0)
    )
    bytes: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("read", "decoded", "written"), 0)
    )
    seconds: float = 0.0
    unchanged: list[str] = field(default_factory=list)
    device: str = "cpu"
    dry_run: bool = False
    archive: str = ""

    def __repr__(self) -> str:
        return (
            f"<sansfilm.Report: {len(self.volumes)} volumes ({len(self.unchanged)} were there), "
            f"{self.frames['stored']} of {self.frames['found']} frames stored, "
            f"{len(self.problems)} problems, {self.seconds:.1f} s>"
        )
