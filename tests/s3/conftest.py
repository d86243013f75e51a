"""The tests of this folder need a real S3 server."""

from s3_fixtures import (  # noqa: F401
    bucket,
    counted,
    files,
    pytest_terminal_summary,
    record,
    s3,
)
