"""Which decoders for devices there are, ours and those of others, and what they read."""

import ctypes
import os
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from sansfilm.decode import syntaxes
from sansfilm.decode.contract import DeviceDecoder
from sansfilm.model import FrameSpec

GROUP = "sansfilm.decoders.gpu"
OURS = {
    name: f"sansfilm.decode.gpu_backends:{attribute}"
    for name, attribute in (
        ("jpegls-cuda", "JpegLs"), ("rle-cuda", "Rle"),
        ("nvjpeg2000", "Jpeg2000"), ("nvimagecodec", "Jpeg"),
    )
}  # fmt: skip


@cache
def names() -> frozenset[str]:
    """Return the names of all backends, whether they can be loaded or not."""
    return frozenset(OURS) | {entry.name for entry in entry_points(group=GROUP)}


@cache
def backends() -> dict[str, DeviceDecoder | str]:
    """Load all backends, ours first; in place of one that cannot be loaded, why."""
    found: dict[str, DeviceDecoder | str] = {}
    others = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    for name, path in (OURS | {n: p for n, p in others.items() if n not in OURS}).items():
        module, _, attribute = path.partition(":")
        try:
            decoder: object = getattr(import_module(module), attribute)()
        except Exception as exc:  # whatever the import of somebody else's module raises
            found[name] = f"{name} cannot be loaded: {type(exc).__name__}: {exc}"
        else:
            right = isinstance(decoder, DeviceDecoder)
            found[name] = decoder if right else f"{name} is no DeviceDecoder"  # type: ignore[assignment]
    return found


@cache
def readers(transfer_syntax: str, *, installed: bool = True) -> tuple[DeviceDecoder, ...]:
    """Return the backends that know a syntax, and are there if it is to be here."""
    return tuple(
        one for one in backends().values()
        if not isinstance(one, str)
        and any(transfer_syntax in reads.transfer_syntaxes for reads in one.reads)
        and not (installed and one.missing(transfer_syntax))
    )  # fmt: skip


def has_driver() -> bool:
    """Tell whether there is an NVIDIA driver: asking costs nothing, loading the backends does."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


@cache
def present() -> bool:
    """Tell whether this machine has a device that decodes anything."""
    if not has_driver() and names() == OURS.keys():
        return False
    return any(readers(syntax) for syntax in syntaxes.NAMES)


def reader(
    spec: FrameSpec, bits: int, *, signed: bool, installed: bool = True
) -> DeviceDecoder | None:
    """Return the backend that reads frames of a kind, None if there is none."""
    if spec.floating or spec.swapped:
        return None
    syntax = spec.transfer_syntax
    for one in readers(syntax, installed=installed):
        for reads in one.reads:
            fits = not reads.why_not(bits, spec.samples_per_pixel, signed=signed)
            if fits and syntax in reads.transfer_syntaxes:
                return one
    return None


def table() -> list[dict[str, str]]:
    """Return one row per backend and syntax that it knows, as `registry.table` does."""
    rows = []
    for uid, name in syntaxes.NAMES.items():
        for one in readers(uid, installed=False):
            missing = one.missing(uid)
            rows += [{
                "uid": uid, "name": name, "decoder": one.name,
                "state": "missing" if missing else one.device,
                "bits": "{}-{}".format(*reads.bits), "signed": "yes" if reads.signed else "no",
                "samples": ", ".join(map(str, sorted(reads.samples))),
                "missing": f"{missing}; install {one.requires}" if missing else "",
            } for reads in one.reads if uid in reads.transfer_syntaxes]  # fmt: skip
    return rows


def broken() -> dict[str, str]:
    """Return the backends that cannot be loaded, and why."""
    return {name: one for name, one in backends().items() if isinstance(one, str)}
