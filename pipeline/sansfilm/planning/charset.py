"""Text in the character sets of DICOM (PS3.3 C.12.1.1.2): whatever the bytes, a text comes out."""

import re
import threading
import warnings
from collections.abc import Sequence

_PYTHON_CODECS = {
    "": "latin-1",  # ASCII in the standard; as pydicom reads it in practice
    "ISO_IR 6": "latin-1",
    "ISO_IR 13": "shift_jis",
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
    "ISO_IR 203": "iso8859-15",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WARNINGS = threading.Lock()


def decode_text(raw: bytes, charsets: Sequence[str]) -> str:
    """Return one line of text; what cannot be decoded, and control characters, become escapes.

    Different bytes stay different texts, so that no two patients become one.

    Parameters
    ----------
    raw : bytes
        The value with its padding.
    charsets : sequence of str
        Values of Specific Character Set; empty for the default repertoire.
    """
    raw = raw.strip(b" \0")
    if raw.isascii() and b"\x1b" not in raw:
        text = raw.decode("ascii")
    elif len(charsets) < 2 and (codec := _PYTHON_CODECS.get("".join(charsets))):
        text = raw.decode(codec, "backslashreplace")
    else:
        text = _decode_with_extensions(raw, list(charsets))
    return text if text.isprintable() else _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


def _decode_with_extensions(raw: bytes, charsets: list[str]) -> str:
    """Decode ISO 2022 code extensions with pydicom, which is loaded only when it is needed."""
    from pydicom.charset import convert_encodings, decode_bytes

    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(raw, convert_encodings(charsets), set(b"^=\r\n\t\f\\"))
        except (LookupError, ValueError):
            return raw.decode("latin-1")
