"""How an ingest is to be done: frozen options, checked when they are made."""

from dataclasses import asdict, dataclass, field

from sansfilm.errors import OptionError
from sansfilm.frame_spec import Decoding


@dataclass(frozen=True, kw_only=True, slots=True)
class Budgets:
    """Limits of one instance, checked before anything is allocated for it, and of its decoding."""

    header_bytes: int = 64 * 2**20
    """Bytes of a dataset outside Pixel Data; typical CT headers hold 2 to 20 kB."""
    inflated_bytes: int = 2**28
    """Bytes of a deflated dataset, or of a deflated member of a zip file, once inflated."""
    members: int = 250_000
    """Files in one zip or tar file."""
    elements: int = 2_000_000
    """Data elements of one dataset, nested ones included; an enhanced MR has 150 for each frame."""
    depth: int = 200
    """Nesting of sequences; pydicom's own reader fails near 249."""
    frame_pixels: int = 2**28
    """Rows x Columns of one frame: 16384 x 16384."""
    frames: int = 1_000_000
    """Number of Frames of one instance."""
    matrix_pixels: int = 2**38
    """Total Pixel Matrix Rows x Columns: 524288 x 524288."""
    seconds: int = 30
    """For decoding one frame; one more for each megapixel, of which slow codecs do ten a second."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise OptionError(f"budget {name} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerances:
    """How far slices may be from where a regular stack has them."""

    z_mm: float = 0.2
    """Along the slice normal, mm (as dcm2niix and IDC do); for slices closer than 0.8 mm a
    quarter of their distance is used instead, so that thin slices cannot hide a gap."""
    in_plane_mm: float = 0.1
    """Sideways offset of a slice against the stack, and of its far corners where orientation or
    pixel spacing differ, mm."""
    same_position_mm: float = 0.01
    """Slices nearer than this are at one position, mm."""
    direction: float = 0.01
    """How far direction cosines may be from unit length, and rows from a right angle to columns."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise OptionError(f"tolerance {name} must be positive, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """The shape of the arrays on storage."""

    chunk: int = 64
    """Edge of a cubic chunk in voxels; 64 reads thin slices and patches equally well."""
    slab: int = 64
    """Slices in one shard of level 0: what one task holds in memory."""
    slab_bytes: int = 64 * 2**20
    """Largest size of a slab before compression; large images get fewer in a shard."""
    smallest: int = 64
    """Levels are added until rows and columns of the last one are at most this."""
    compression_level: int = 3
    """zstd level under blosc bit shuffle; 3 costs 0.23 CPU s per 84 MB."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise OptionError(f"{name} must be a whole number, got {value!r}")
        for name in ("chunk", "slab"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise OptionError(f"{name} must be a power of two, got {value}")
        for name in ("slab_bytes", "smallest"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.compression_level <= 9:
            raise OptionError(f"compression_level must be 1 to 9, got {self.compression_level}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """All options of an ingest; recorded in every commit."""

    budgets: Budgets = field(default_factory=Budgets)
    tolerances: Tolerances = field(default_factory=Tolerances)
    storage: Storage = field(default_factory=Storage)
    prefer: tuple[str, ...] = ("native", "imagecodecs", "pylibjpeg")
    """Decoders in the order in which they are tried."""
    crosscheck: int = 0
    """One frame in so many is decoded again by another decoder and compared; 0 is none."""
    device: str = "auto"
    """Where to decode: "cpu", "gpu", or "auto" for where a slab is done soonest."""

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "gpu"):
            raise OptionError(f"device must be auto, cpu or gpu, got {self.device!r}")
        if self.crosscheck < 0:
            raise OptionError(f"crosscheck must be 0 or more, got {self.crosscheck}")

    @property
    def decoding(self) -> Decoding:
        """What decoders are told."""
        return Decoding(self.prefer, self.budgets.seconds, self.crosscheck, self.device)

    def shaping(self) -> dict[str, object]:
        """Return the options that decide which bytes are stored: part of every volume_id."""
        return {"tolerances": asdict(self.tolerances), "storage": asdict(self.storage)}
