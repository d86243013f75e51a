"""The tests of this folder need a real S3 server."""

from s3_fixtures import bucket, files, pytest_terminal_summary, record, s3  # noqa: F401
