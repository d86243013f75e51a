"""Writes `jpeg-xl` anew: `python tests/decode/make_jpeg_xl.py FOLDER`.

FOLDER is where npm has installed jxl-oxide-wasm, and Node.js runs it: a JPEG XL decoder of another
make than libjxl, which encodes and decodes here. The manifest says what it made of each codestream.
The images are formulas, no data of anybody: the work of this project and under its licence.
"""

import hashlib
import json
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import synth

FOLDER = Path(__file__).with_name("jpeg-xl")
SHAPE = 23, 37
RECOMPRESSED = "1.2.840.10008.1.2.4.111"
DECODE = """
import fs from "node:fs";
const [, , wasm, program, ...names] = process.argv;
const { default: init, JxlImage, version } = await import(program);
await init({ module_or_path: fs.readFileSync(wasm) });
for (const name of names) {
  const image = new JxlImage();
  image.feedBytes(fs.readFileSync(name));
  if (!image.tryInit()) throw new Error(`${name} is cut`);
  fs.writeFileSync(name.replace(/jxl$/, "png"), image.render().encodeToPng());
}
console.log(version());
"""


def picture(bits: int, samples: int) -> np.ndarray:
    """Return waves and noise that fill all bits."""
    y, x, c = np.indices((*SHAPE, samples))
    waves = (np.sin(y / (5 + c)) * np.cos(x / 7) + 1) / 2
    noise = np.random.default_rng(bits * samples).normal(0, 0.02, waves.shape)
    values = np.clip((waves + noise) * 2**bits, 0, 2**bits - 1)
    return np.squeeze(values.astype("u1" if bits <= 8 else "<u2"))


def scaled(png: bytes, bits: int) -> np.ndarray:
    """Return the values of a PNG, whose largest stands for 2**bits - 1."""
    values = imagecodecs.png_decode(png)
    exact = values.astype(float) * (2**bits - 1) / np.iinfo(values.dtype).max
    return np.rint(exact).astype("u1" if bits <= 8 else "<u2")


def write(installed: Path) -> None:
    """Encode all, have them decoded, and keep what came of them."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    about: dict[str, dict[str, Any]] = {}
    for (bits, samples), effort in zip(
        [(bits, samples) for bits in range(1, 17) for samples in (1, 3)], cycle((1, 3, 5, 7, 9)),
        strict=False,
    ):  # fmt: skip
        encoded = imagecodecs.jpegxl_encode(
            picture(bits, samples), lossless=True, effort=effort, bitspersample=bits,
            usecontainer=False,
        )  # fmt: skip
        name = f"lossless-{bits}-{samples}.jxl"
        (FOLDER / name).write_bytes(encoded)
        about[name] = {"syntax": synth.JPEG_XL, "bits": bits, "samples": samples}
    for bits, samples in ((8, 1), (8, 3), (12, 1), (16, 1)):
        encoded = imagecodecs.jpegxl_encode(
            picture(bits, samples), distance=1.0, bitspersample=bits, usecontainer=False
        )
        name = f"lossy-{bits}-{samples}.jxl"
        (FOLDER / name).write_bytes(encoded)
        about[name] = {"syntax": synth.JPEG_XL_LOSSY, "bits": bits, "samples": samples}
    jpeg = imagecodecs.jpeg8_encode(picture(8, 1), level=95)
    (FOLDER / "recompressed-8-1.jxl").write_bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))
    about["recompressed-8-1.jxl"] = {"syntax": RECOMPRESSED, "bits": 8, "samples": 1}
    package = installed.resolve() / "node_modules" / "jxl-oxide-wasm"
    version = subprocess.run(
        ["node", "--input-type=module", "-", package / "jxl_oxide_wasm_bg.wasm",
         package / "jxl_oxide_wasm.js", *(FOLDER / name for name in about)],
        input=DECODE, text=True, check=True, capture_output=True,
    ).stdout.strip()  # fmt: skip
    for name, entry in about.items():
        png = (FOLDER / name).with_suffix(".png")
        if entry["syntax"] == synth.JPEG_XL:
            bits, samples = entry["bits"], entry["samples"]
            values = scaled(png.read_bytes(), bits)
            assert np.array_equal(values, picture(bits, samples))
            entry["sha256"] = hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
            png.unlink()
    manifest = {"decoder": f"jxl-oxide {version}", "codestreams": about}
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
