"""File systems behind URLs: the one place where fsspec comes in, with its options made safe.

Credentials and endpoints come from the environment, as every S3 client reads it (AWS_PROFILE,
AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...), from fsspec's own configuration, or from options that
are given.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

_S3 = {
    # With more than one, s3fs asks for the size before each read: twice the requests.
    "max_concurrency": 1,
    "use_listings_cache": False,
    "config_kwargs": {
        # Standard mode waits longer after each failure, by a random part, up to 20 s.
        "retries": {"mode": "standard", "max_attempts": 8},
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": 32,
    },
}
_TAGS = ("ETag", "etag", "generation", "md5Hash", "CRC")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
"""How file systems name what changes with the contents, and when it changed."""
RETRIES = 10
"""How often s3fs itself tries again, after what botocore does not: bodies cut short, say."""

_LOST = {"ConnectionError", "HTTPClientError", "TimeoutError", "ClientConnectionError",
         "NoCredentialsError"}  # fmt: skip
"""Names of classes, those of Python, botocore and aiohttp, that say it of storage as a whole."""
_LOST_CODES = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed",
               "SignatureDoesNotMatch", "SlowDown", "TokenRefreshRequired"}  # fmt: skip


def options_for(url: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the options that a URL is opened with: those that are given win."""
    named = set(re.findall(r"(?:^|::)(s3a?)://", url))
    # Copies: botocore writes into what it is given.
    return {protocol: deepcopy(_S3) for protocol in sorted(named)} | deepcopy(dict(given or {}))


def open_url(url: str, given: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Raises
    ------
    ValueError, ImportError
        If the protocol is unknown or its package is not installed.
    """
    import fsspec

    fs, path = fsspec.core.url_to_fs(
        url, **({"use_listings_cache": False} | options_for(url, given))
    )
    harden(fs)
    return fs, path


def version_of(info: Mapping[str, Any]) -> str:
    """Return what a listing says to tell one state of an object from the next; "" for nothing."""
    if tag := next((info[name] for name in _TAGS if info.get(name)), None):
        return str(tag)
    time = next((info[name] for name in _TIMES if info.get(name)), "")
    # One call of a file system may give a date where another gives seconds, with or without parts.
    time = time.timestamp() if isinstance(time, datetime) else time
    return str(int(time)) if isinstance(time, float) else str(time)


def harden(fs: Any) -> None:
    """Let a file system that can try again do so more often."""
    if isinstance(getattr(fs, "retries", None), int):
        fs.retries = max(fs.retries, RETRIES)


def is_lost(exc: BaseException | None) -> bool:
    """Tell whether an error says that storage as a whole is not there, not one object of it."""
    while exc is not None:
        if _LOST & {kind.__name__ for kind in type(exc).__mro__}:
            return True
        answer = getattr(exc, "response", None)
        if isinstance(answer, Mapping):
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
            if status >= 500 or answer.get("Error", {}).get("Code") in _LOST_CODES:
                return True
        exc = exc.__cause__
    return False


def has_buckets(fs: Any) -> bool:
    """Tell whether it keeps objects in buckets, which exist or do not: nobody makes one by typo."""
    protocol = fs.protocol if isinstance(fs.protocol, tuple | list) else (fs.protocol,)
    return "s3" in protocol
