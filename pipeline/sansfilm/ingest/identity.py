"""Who an image is of: read for the patients table, hashed for everything else."""

import hashlib

from sansfilm.ingest.values import Values
from sansfilm.model import Identity

_PYTHON_CODECS = {
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 166": "tis-620",
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}


def read_identity(values: Values) -> Identity:
    """Read the patient's identity; text that its character set cannot decode keeps marks."""
    charsets = values.texts("SpecificCharacterSet") or [""]

    def text(keyword: str) -> str:
        raw = (values.raw(keyword) or b"").strip(b" \0")
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        if len(charsets) == 1 and charsets[0] in _PYTHON_CODECS:
            return raw.decode(_PYTHON_CODECS[charsets[0]], "replace")
        return _decode_with_extensions(raw, charsets)

    return Identity(
        patient_id=text("PatientID"),
        issuer=text("IssuerOfPatientID"),
        name=text("PatientName"),
        birth_date=values.text("PatientBirthDate"),
        sex=values.text("PatientSex"),
    )


def _decode_with_extensions(raw: bytes, charsets: list[str]) -> str:
    """Decode ISO 2022 code extensions with pydicom, which is loaded only when it is needed."""
    import warnings

    from pydicom.charset import convert_encodings, decode_bytes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(raw, convert_encodings(charsets), set("^=\r\n\t\f\\"))
        except (LookupError, ValueError):
            return raw.decode("latin-1")


def patient_key(identity: Identity, study_uid: str) -> str:
    """Return a key that joins a patient's volumes without naming the patient.

    SHA-256 over issuer and Patient ID, 32 hex digits. Without a Patient ID nothing joins two
    studies, so the study stands for the patient.
    """
    named = f"\0\0{study_uid}"
    if identity.patient_id:
        named = f"{identity.issuer}\0{identity.patient_id}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]
