"""The nouns that travel between the stages: small, frozen, picklable, without pixels.

Axis order everywhere: ``(z, y, x)`` for stacks with a place in the patient, ``(i, y, x)`` for
images without one. Millimetres; patient coordinates are DICOM's LPS (PS3.3 C.7.6.2.1.1).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from sansfilm import markup
from sansfilm.errors import DESCRIPTIONS, Problem
from sansfilm.frame_spec import Decoded as Decoded
from sansfilm.frame_spec import Decoding as Decoding
from sansfilm.frame_spec import FrameSpec as FrameSpec
from sansfilm.frame_spec import Lut as Lut
from sansfilm.frame_spec import shared_lut as shared_lut
from sansfilm.label_spec import Labels as Labels
from sansfilm.label_spec import Segment as Segment
from sansfilm.label_spec import Segmentation as Segmentation
from sansfilm.slide import Matrix as Matrix
from sansfilm.slide import PixelMatrix as PixelMatrix
from sansfilm.slide import Placed as Placed
from sansfilm.slide import Slide as Slide
from sansfilm.slide import SlideLevel as SlideLevel
from sansfilm.slide import Tile as Tile
from sansfilm.verdict import Verdict as Verdict

Vector = tuple[float, float, float]
Padding = tuple[float | str, float | str]
"""Inclusive range of values that stand for no data.

NaN and infinity are spelt "NaN", "Infinity" and "-Infinity", as in Zarr: as numbers, NaN would not
be equal to itself, and JSON knows neither.
"""

HEADER_CHUNK = 2**20
"""Bytes in one chunk of ``dicom/headers``."""

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""How independent pieces of a task are computed: the builtin map, or that of a thread pool."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file that may be an instance. `size` in bytes.

    What tells one state of it from the next is `modified_ns` on this machine; on object storage
    `version`, an ETag for example.
    """

    uri: str
    size: int
    modified_ns: int | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class PixelLocation:
    """Where one frame lies in its file, and where Pixel Data does.

    Offsets count from the first byte of the file; for a deflated dataset (PS3.5 A.5) from the
    first byte of the inflated dataset, whose file meta information is `prefix` bytes long.
    `element_offset` to `element_end` is the whole Pixel Data element: the header is everything
    outside of it, `total` being the end. The frame is in `length` bytes from `offset`: whole
    items of a compressed one, or `bits` bits from bit `shift` of the first byte.
    """

    element_offset: int
    element_end: int
    total: int
    prefix: int
    offset: int
    length: int
    bits: int
    shift: int

    @property
    def header_length(self) -> int:
        """Bytes of the instance outside Pixel Data, file meta information included."""
        return self.prefix + self.element_offset + self.total - self.element_end


@dataclass(frozen=True, slots=True)
class Window:
    """One VOI window (PS3.3 C.11.2.1.2): centre and width in modality values."""

    center: float
    width: float
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class VoiLut:
    """One VOI LUT (PS3.3 C.11.2.1.1): a table from modality values to grey of `table.bits`."""

    table: Lut
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the image is of; goes to the patients table and to nothing else, reprs least of all."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    name: str = field(repr=False)
    birth_date: str = field(repr=False)
    sex: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a frame lies in the picture of its codestream, and the size of that, in pixels."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFacts:
    """What a header says of one frame: from the top level, or from its functional groups.

    `axes` has the attributes that may tell frames at one place apart (time, echo, b-value), by
    DICOM keyword; `extra` what else helps a researcher. `spacing_kind` says what the spacing is
    measured in: see `planning.calibration`.
    """

    position: Vector | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, float] | None
    spacing_kind: str
    slice_thickness: float | None
    slope: float
    intercept: float
    unit: str
    windows: tuple[Window, ...]
    voi_function: str
    voi_luts: tuple[VoiLut, ...]
    axes: Mapping[str, float | str]
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One 2-D image of an instance, and what the stages need to know of the instance.

    `number` counts from 1 to `of` within the instance; `pixels` says where this frame's codestream
    lies. `axes` and `extra` as in FrameFacts. `cut` is there where the codestream holds several
    frames: the tiles of a mosaic. `modified_ns` and `version` as in FileRef.
    """

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
    number: int
    of: int
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
    padding: Padding | None
    instance_number: int | None
    lossy: tuple[bool, str, float | None]
    identity: Identity
    axes: Mapping[str, float | str]
    extra: Mapping[str, Any]
    segmentation: Segmentation | None = None
    tile: Tile | None = None
    spacing_kind: str = "patient"
    voi_luts: tuple[VoiLut, ...] = ()
    cut: Cut | None = None
    version: str = ""

    @property
    def picture(self) -> FrameSpec:
        """What a decoder must know of the codestream: the frame's own format, or one around it."""
        if self.cut is None:
            return self.spec
        return replace(self.spec, rows=self.cut.rows, columns=self.cut.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One instance that is no image: a report, a plan, contours, a waveform, a directory.

    `patient_key` is None where it says of no patient; the referenced UIDs are those that it names
    anywhere, each once, sorted.
    """

    uri: str
    sha256: str
    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    study_uid: str
    patient_key: str | None
    modality: str
    referenced_series_uids: tuple[str, ...]
    referenced_sop_instance_uids: tuple[str, ...]
    identity: Identity


@dataclass(frozen=True, slots=True)
class Rescale:
    """How stored values became level-0 values.

    ``applied`` is "integer" (level 0 holds modality values as integers), "attributes" (level 0
    holds stored values; scale_factor and add_offset say the rest), "per_frame" (level 0 holds
    floating modality values; the frame table has each slope and intercept) or "lut" (level 0
    holds what the Modality LUT gives; `lut` describes it).
    """

    slope: float
    intercept: float
    unit: str
    applied: str
    lut: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One resolution level: shapes in voxels, factors relative to level 0, per axis.

    Factors are whole numbers but for those of the levels that a slide brings along.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    factors: tuple[float, ...]


def padding_range(padding: Padding | None) -> tuple[float, float] | None:
    """Return a range of padding as numbers; (NaN, NaN) if NaN is padding."""
    if padding is None:
        return None
    low, high = (float(end) if isinstance(end, str) else end for end in padding)
    return low, high


def stack_axis(axes: Sequence[str]) -> int:
    """Return the number of the axis that slabs cut: the last one before y, colour apart."""
    return max(n for n, axis in enumerate(axes) if axis not in "cyx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The lattice of a volume, planned or stored, on which others may be laid.

    `shape` and `spacing_mm` are along z, y, x. The verdict is the volume's.
    """

    series_uid: str
    volume_id: str
    frame_of_reference_uid: str | None
    shape: tuple[int, int, int]
    affine_lps: Matrix
    spacing_mm: tuple[float | None, ...]
    verdict: Verdict

    @property
    def key(self) -> str:
        """Where the volume lies below the archive."""
        return volume_key(self.series_uid, self.volume_id)


def volume_key(series_uid: str, volume_id: str) -> str:
    """Return where a volume lies below the archive."""
    return f"series/{series_uid}/{volume_id}"


class _Cells:
    """What a volume's plan and a slab's have in common: frames in the cells of an array."""

    __slots__ = ()
    axes: tuple[str, ...]
    frames: tuple[Frame | None, ...]
    labels: Labels | None

    @property
    def present(self) -> tuple[Frame, ...]:
        """The frames that are there."""
        return tuple(frame for frame in self.frames if frame is not None)

    @property
    def per_cell(self) -> int:
        """How many entries of `frames` each cell has: one, but for segments painted together."""
        return self.labels.per_cell if self.labels else 1

    @property
    def stack(self) -> int:
        """Number of the axis that slabs cut."""
        return stack_axis(self.axes)


@dataclass(frozen=True, slots=True)
class VolumePlan(_Cells):
    """One volume to be: its frames in index order and everything that decides its bytes.

    `frames` fill the array in C order over all axes before y, x, colour (c) apart; None where a
    frame is missing. Those of a `slide` are tiles of its levels instead. The stack axis is the one
    that slabs cut: z, or else the last before c and y. `orientation` says where z, y and x point,
    in the words of OME-NGFF RFC-4; it is empty for images without a place in the patient.
    `axes_values` has the values along axes that are not plain multiples of a spacing.
    """

    volume_id: str
    series_uid: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    frames: tuple[Frame | None, ...]
    verdict: Verdict
    affine_lps: Matrix | None
    spacing_mm: tuple[float | None, ...]
    rescale: Rescale
    padding: Padding | None
    patient_key: str
    orientation: tuple[str, ...] = ()
    axes_values: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    labels: Labels | None = None
    slide: Slide | None = None

    @property
    def key(self) -> str:
        """Where the volume lies below the archive."""
        return volume_key(self.series_uid, self.volume_id)

    @property
    def grid(self) -> Grid | None:
        """The lattice for segmentations; None without an even one, or if it is one itself."""
        if self.affine_lps is None or "z" in self.axes_values or self.labels:
            return None
        depth, rows, columns = (self.shape[self.axes.index(axis)] for axis in "zyx")
        return Grid(
            series_uid=self.series_uid, volume_id=self.volume_id,
            frame_of_reference_uid=self.present[0].frame_of_reference_uid,
            shape=(depth, rows, columns), affine_lps=self.affine_lps,
            spacing_mm=self.spacing_mm[-3:], verdict=self.verdict,
        )  # fmt: skip

    def index_of(self, cell: int) -> tuple[int, ...]:
        """Return the index of a frame along all axes other than c, y and x.

        Of a tile with the row and the column of its first pixel, in its level.
        """
        if self.slide is not None and (frame := self.frames[cell]) is not None:
            assert frame.tile is not None
            return self.slide.index_of(frame.tile)
        places = []
        for axis, size in reversed(tuple(zip(self.axes, self.shape, strict=True))):
            if axis not in "cyx":
                cell, place = divmod(cell, size)
                places.append(place)
        return tuple(reversed(places))


@dataclass(frozen=True, slots=True)
class SlabPlan(_Cells):
    """One task: decode the frames of one shard along the stack axis and write all its levels.

    `volume` is the volume's key below the archive, `place` the slab's number along each axis.
    The headers of the instances of the frames in `owners` go into the chunks of
    ``dicom/headers`` from number `header_chunk` on: each instance has one owner in a volume.
    """

    volume: str
    index: int
    place: tuple[int, ...]
    axes: tuple[str, ...]
    frames: tuple[Frame | None, ...]
    levels: tuple[LevelPlan, ...]
    dtype: str
    rescale: Rescale
    padding: Padding | None
    owners: tuple[int, ...]
    header_chunk: int
    compression_level: int
    decoding: Decoding
    labels: Labels | None = None
    placed: Placed | None = None

    @property
    def owned(self) -> tuple[Frame, ...]:
        """One frame of each instance whose header this slab keeps."""
        return tuple(frame for n in self.owners if (frame := self.frames[n]) is not None)

    @property
    def header_ends(self) -> list[int]:
        """Where each kept header ends in ``dicom/headers``; the first starts on a chunk."""
        lengths = (frame.pixels.header_length for frame in self.owned)
        return list(accumulate(lengths, initial=self.header_chunk * HEADER_CHUNK))[1:]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as it was written: key below the volume, bytes, digest."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What came of one frame: digest of its stored values and who decoded it, or the Problem.

    `notes` tell of decoders that were found to be wrong while it was decoded.
    """

    sop_instance_uid: str
    number: int
    pixel_digest: str = ""
    decoder: str = ""
    problem: Problem | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlabResult:
    """What a slab task did, for each frame that is there; `objects` is empty when one failed.

    `strange` are the values of a label map that no segment describes, sorted.
    """

    index: int
    objects: tuple[StoredObject, ...]
    frames: tuple[FrameResult, ...]
    value_range: tuple[float, float] = (0.0, 0.0)
    bytes_read: int = 0
    bytes_decoded: int = 0
    strange: tuple[int, ...] = ()


@dataclass(slots=True)
class Report:
    """What an ingest did. `volumes` as `ls --json` prints them; see `to_json` for the rest.

    Many volumes are read from a temporary file, each time they are asked for.

    `objects` are the instances that are no images; they count as skipped files. `slabs_before` is
    how many slabs of unfinished volumes an earlier run had stored. `error` says why a round of
    `watch` could not go on; every other ingest raises.
    """

    volumes: Sequence[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    objects: list[Document] = field(default_factory=list)
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
    slabs_before: int = 0
    device: str = "cpu"
    dry_run: bool = False
    archive: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return (
            f"<sansfilm.Report: {len(self.volumes)} volumes ({len(self.unchanged)} were there), "
            f"{self.frames['stored']} of {self.frames['found']} frames stored, "
            f"{len(self.problems)} problems, {self.seconds:.1f} s>"
        )

    def _repr_html_(self) -> str:
        """Show in a notebook what became of all files and frames."""
        codes = [(p.stage, str(p.code), DESCRIPTIONS[p.code]) for p in self.problems]
        books = {"files": self.files, "frames": self.frames}
        return markup.account(repr(self)[1:-1], self.archive, books, codes)
