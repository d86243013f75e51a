"""Who an image is of, read back from the header that its volume keeps."""

from sansfilm.model import Identity
from sansfilm.options import Budgets
from sansfilm.planning import dataset
from sansfilm.planning.identity import read_identity
from sansfilm.planning.items import Item


def kept_identity(header: bytes) -> Identity:
    """Read the patient's identity from the bytes of ``dicom/headers`` that belong to an instance.

    What came deflated is kept inflated.

    Raises
    ------
    BadInstanceError
        If they are no header.
    """
    syntax, start = dataset.read_meta(header, len(header))
    if syntax == dataset.DEFLATED_LE:
        syntax = dataset.EXPLICIT_LE
    budgets = Budgets(header_bytes=2**62, elements=2**62)  # the ingest had its own
    return read_identity(
        Item(header, dataset.walk(header, start, syntax, len(header), budgets), syntax)
    )
