"""Where logs go: to stderr, as text or one JSON object a line. Never anything of a patient."""

import json
import logging
import sys
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")


def log_to_stderr(level: str, form: str) -> None:
    """Send our log records from a level on to stderr, and warnings of other libraries.

    Others tell no less than that whatever the level is: an S3 client would log what it sends, and
    that is patients' data.
    """
    root, ours = logging.getLogger(), logging.getLogger("sansfilm")
    for handler in [each for each in root.handlers if isinstance(each, _ToStderr)]:
        root.removeHandler(handler)
    root.addHandler(_ToStderr(form))
    ours.setLevel(level.upper())
    logging.captureWarnings(form == "json")


class _ToStderr(logging.StreamHandler):  # type: ignore[type-arg]
    def __init__(self, form: str) -> None:
        super().__init__(sys.stderr)
        text = logging.Formatter("%(levelname)s %(name)s: %(message)s")
        self.setFormatter(_JsonFormatter() if form == "json" else text)

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        ours = record.name.partition(".")[0] == "sansfilm"
        return super().filter(record) if ours or record.levelno >= logging.WARNING else False


class _JsonFormatter(logging.Formatter):
    """One line for each record: time, level, logger, message, and the fields of an event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields | getattr(record, "event", {}), default=str)
