"""The sample series that come with sansfilm: where they are, and what each one shows."""

from pathlib import Path
from typing import overload

from sansfilm.errors import OptionError, SourceNotFoundError

SAMPLES = {
    "ct-head-j2k": "CT of a plastic head, 28 axial slices of 5 mm, JPEG 2000",
    "ct-tilt-jpegls": "CT of the same head, six slices, the gantry tilted by 18.5 degrees, JPEG-LS",
    "mr-asl": "MR perfusion of a head, 40 oblique slices",
    "mr-hitachi": "MR of a shoulder, four oblique slices",
    "us-cine": "US cine in colour, 30 frames, without a place in the patient",
}

_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE / "samples", _HERE.parents[1] / "tests" / "data")
"""Where the data is: in an installed wheel, and in the repository."""


@overload
def samples(name: None = None) -> dict[str, str]: ...
@overload
def samples(name: str) -> Path: ...
def samples(name: str | None = None) -> dict[str, str] | Path:
    """Return the folder of a sample series; without a name, what there is.

    Real DICOM files, public and without names of patients: for ``sansfilm.read`` and
    ``sansfilm.ingest``. Nothing is downloaded.

    Raises
    ------
    OptionError
        If there is no such sample: the message tells those that there are.
    SourceNotFoundError
        If this installation came without its data.
    """
    if name is None:
        return dict(SAMPLES)
    if name not in SAMPLES:
        raise OptionError(f"no sample named {name!r}; there are {', '.join(SAMPLES)}")
    for place in _PLACES:
        if (place / name).is_dir():
            return place / name
    looked = " and ".join(map(str, _PLACES))
    raise SourceNotFoundError(f"the samples are not at {looked}: install a wheel or clone it")
