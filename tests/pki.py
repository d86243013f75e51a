"""Certificates for tests, made by openssl: an authority, and folders as `--tls` takes them."""

import subprocess
from pathlib import Path


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def authority(folder: Path) -> Path:
    """Make an authority; return its folder."""
    folder.mkdir(parents=True)
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", "/CN=authority", "-keyout", str(folder / "key.pem"),
             "-out", str(folder / "ca.pem"))  # fmt: skip
    return folder


def certificate(authority: Path, folder: Path, *, expired: bool = False) -> Path:
    """Make a certificate that an authority has signed, in a folder with all that TLS needs."""
    folder.mkdir(parents=True)
    key, request = str(folder / "key.pem"), str(folder / "request.pem")
    _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN={folder.name}", "-keyout", key, "-out", request)  # fmt: skip
    _openssl("x509", "-req", "-in", request, "-CA", str(authority / "ca.pem"), "-CAkey",
             str(authority / "key.pem"), "-CAcreateserial", "-out", str(folder / "cert.pem"),
             "-days", "-1" if expired else "2")  # fmt: skip
    (folder / "ca.pem").write_bytes((authority / "ca.pem").read_bytes())
    return folder
