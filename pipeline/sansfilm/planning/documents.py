"""Instances without pixels (reports, plans, contours, waveforms): what they are and refer to."""

from collections.abc import Iterator

from sansfilm.errors import BadInstanceError, ProblemCode
from sansfilm.model import Document
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.dataset import Walked, _Cursor
from sansfilm.planning.identity import patient_key, read_identity
from sansfilm.planning.items import Item
from sansfilm.planning.source import Source
from sansfilm.planning.values import is_uid

_DIRECTORY = "1.2.840.10008.1.3.10"
_MEDIA_CLASS, _MEDIA_INSTANCE = 0x00020002, 0x00020003
_INSTANCES = frozenset({0x00081155, 0x00041511})
"""Referenced SOP Instance UID, and that of a file in a directory."""
_SERIES = 0x0020000E
_SPECTRA = 0x56000020
_ITEM_HEADS = {False: b"\xfe\xff\x00\xe0", True: b"\xff\xfe\xe0\x00"}
"""How an item begins, in little and in big endian."""


def is_image(values: Item, walked: Walked) -> bool:
    """Tell whether an instance without pixels should have some: its class or its size says so.

    Spectra have rows and columns too.
    """
    from pydicom.uid import UID  # loaded only when it is needed

    sized = "Rows" in values and _SPECTRA not in walked.elements
    return sized or "Image Storage" in UID(values.token("SOPClassUID"), validation_mode=0).name


def read_document(
    source: Source,
    uri: str,
    found: tuple[bytes, Walked, str, int],
    budgets: Budgets,
) -> Document:
    """Return what an instance without pixels is, and which instances and series it names.

    Parameters
    ----------
    found : (buffer, walked, syntax, prefix)
        Its walked dataset, as `headers` has it.

    Raises
    ------
    BadInstanceError
        NO_PIXEL_DATA if it has no UIDs to be known by, BAD_UID if they cannot be; BUDGET if
        there is more of it than may be read.
    """
    buffer, walked, syntax, prefix = found
    if not prefix and len(buffer) < source.size <= budgets.header_bytes:
        buffer = source.head(source.size)
    values = Item(buffer, walked, syntax)
    sop = values.uid("SOPInstanceUID", required=False)
    sop_class = values.uid("SOPClassUID", required=False)
    if not (sop and sop_class):
        sop_class, sop = _of_directory(source.head(2**12), budgets)
    series = values.uid("SeriesInstanceUID", required=False)
    study = values.uid("StudyInstanceUID", required=False)
    identity = read_identity(values)
    known = identity.patient_id or study or series
    named = _references(buffer, syntax, prefix, source.size, budgets)
    return Document(
        uri=uri, sha256=source.sha256(), sop_instance_uid=sop, sop_class_uid=sop_class,
        series_uid=series, study_uid=study, modality=values.code("Modality"),
        patient_key=patient_key(identity, study or series) if known else None,
        referenced_series_uids=tuple(sorted(uid for tag, uid in named if tag == _SERIES)),
        referenced_sop_instance_uids=tuple(sorted({u for tag, u in named if tag != _SERIES})),
        identity=identity,
    )  # fmt: skip


def _of_directory(head: bytes, budgets: Budgets) -> tuple[str, str]:
    """Return class and UID of a DICOMDIR, which has them in its file meta information only."""
    _, start = dataset.read_meta(head, len(head))
    meta = dataset.walk(head, 132, dataset.EXPLICIT_LE, start, budgets)
    found = [
        head[offset : offset + length].rstrip(b"\0 ").decode("latin-1")
        for _, offset, length in (meta.elements.get(t, (b"", 0, 0))
                                  for t in (_MEDIA_CLASS, _MEDIA_INSTANCE))
    ]  # fmt: skip
    if found[0] != _DIRECTORY or not is_uid(found[1]):
        message = "neither Pixel Data nor the UIDs of an object without it"
        raise BadInstanceError(ProblemCode.NO_PIXEL_DATA, message)
    return found[0], found[1]


def _references(
    buffer: bytes, syntax: str, prefix: int, size: int, budgets: Budgets
) -> set[tuple[int, str]]:
    start, end = 0, len(buffer)
    if not prefix:
        start, end = dataset.read_meta(buffer, size)[1], size
    cursor = _Cursor(buffer, syntax, end, budgets)
    try:
        return set(_named(buffer, cursor, syntax, start, end, start))
    except dataset.NeedMoreError:
        message = f"sequences that go on beyond {len(buffer)} bytes"
        raise BadInstanceError(ProblemCode.BUDGET, message) from None


def _named(
    buffer: bytes, cursor: _Cursor, syntax: str, pos: int, end: int, deep: int
) -> Iterator[tuple[int, str]]:
    """Yield tag and UID of whatever a dataset refers to, at any depth.

    One pass that enters sequences and items as it meets them, so that depth costs nothing. What
    stands before `deep` is in a sequence: a series that is named there is another one.
    """
    explicit = syntax != dataset.IMPLICIT_LE
    item = _ITEM_HEADS[syntax == dataset.EXPLICIT_BE]
    while pos < end:
        tag, vr, start, length = cursor.element(pos, explicit)
        if tag == dataset.ITEM or tag in dataset.DELIMITERS:
            pos = start
            continue
        unsaid = vr in (b"", b"UN") and buffer[start : start + 4] == item
        if vr == b"SQ" or unsaid or length == dataset.UNDEFINED:
            stop = deep
            if start >= deep or vr not in (b"SQ", b""):
                stop = cursor.skip_nested(vr, start, length, explicit and vr != b"UN")
            if vr == b"UN":  # implicit below (PS3.5 section 6.2.2)
                yield from _named(buffer, cursor, dataset.IMPLICIT_LE, start, stop, stop)
            deep = max(deep, stop)
            pos = start if vr in (b"SQ", b"") else stop
            continue
        pos = cursor.end(start, length, end)
        if tag in _INSTANCES or (tag == _SERIES and start < deep):
            uid = buffer[start:pos].rstrip(b"\0 ").decode("latin-1")
            if is_uid(uid):
                yield tag, uid
