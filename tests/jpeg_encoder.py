"""A JPEG encoder in plain Python, close to the text of ITU-T T.81, for what others do not write.

Lossless (annex H): all predictors, 2 to 16 bits, point transform, restarts by lines, scans of one
or of all components. By DCT (annexes F and G): 8 and 12 bits, sequential or progressive by bands,
from coefficients, so that `seen` can tell without any codec what a decoder has to make of them.

Huffman tables are not fitted to the image: all codes of a table have nearly the same length.
Three components are named R, G and B, so that no decoder takes them for YCbCr.
"""

import numpy as np

BASELINE, EXTENDED, PROGRESSIVE, LOSSLESS = range(4)
"""The n of the frame marker SOFn (table B.1)."""
_SHORT = 100
"""Runs and sizes whose code has 8 bits; the others have 9."""


def encode_lossless(image, bits, predictor=1, *, restart=0, shift=0, apart=False):
    """Encode (rows, columns, samples).

    Parameters
    ----------
    restart : int
        Lines from one restart marker to the next.
    shift : int
        Point transform: how many low bits are left out.
    apart : bool
        Whether each component has a scan of its own.
    """
    rows, columns, samples = image.shape
    out = _start(LOSSLESS, image.shape, bits, _table(0, range(17)), restart * columns)
    step = restart or rows
    for scan in _scans(samples, apart=apart):
        out += _scan(scan, samples, predictor, 0, shift)
        for number, row in enumerate(range(0, rows, step)):
            if number:
                out += bytes([0xFF, 0xD0 + (number - 1) % 8])
            piece = image[row : row + step, :, scan].astype(int) >> shift
            differences = piece - _predicted(piece, predictor, 1 << bits - shift - 1)
            differences = (differences + 32767) % 65536 - 32767  # H.1.2.1
            out += _stuffed(_coded(int(d), _category) for d in differences.ravel())
    return out + b"\xff\xd9"


def encode_dct(levels, bits, quantum, *, process=BASELINE, restart=0):
    """Encode quantised coefficients (block rows, block columns, samples, 8, 8), vertical first.

    `quantum` (to 255) divides all coefficients alike; `restart` counts blocks of a component.
    """
    rows, columns, samples = levels.shape[:3]
    tables = _segment(0xDB, bytes([0]) + bytes([quantum]) * 64) + _table(0, range(16))
    tables += _table(0x10, range(256))
    out = _start(process, (rows * 8, columns * 8, samples), bits, tables, restart)
    order = sorted(np.ndindex(8, 8), key=_along_diagonals)
    blocks = levels[..., *np.transpose(order)].reshape(-1, samples, 64)
    (everything,) = _scans(samples, apart=False)
    bands = [(everything, 0, 63)]
    if process == PROGRESSIVE:  # coefficients other than the first are never interleaved (G.1.1.1)
        bands = [(everything, 0, 0)]
        bands += [([s], *band) for s in everything for band in ((1, 5), (6, 63))]
    for scan, first, last in bands:
        out += _scan(scan, samples, first, last, 0)
        step = restart or len(blocks)
        for number, start in enumerate(range(0, len(blocks), step)):
            if number:
                out += bytes([0xFF, 0xD0 + (number - 1) % 8])
            out += _blocks(blocks[start : start + step], scan, first, last)
    return out + b"\xff\xd9"


def seen(levels, bits, quantum):
    """Return the image of coefficients (A.3.3), (rows, columns, samples), not rounded."""
    u = np.arange(8)
    basis = np.cos((2 * u[:, None] + 1) * u * np.pi / 16) / 2
    basis[:, 0] /= np.sqrt(2)
    pixels = basis @ (levels * float(quantum)) @ basis.T + (1 << bits - 1)
    rows, columns, samples = levels.shape[:3]
    return pixels.transpose(0, 3, 1, 4, 2).reshape(rows * 8, columns * 8, samples)


def _predicted(piece, predictor, start):
    """Table H.1; the first line has what is to the left, the first column what is above."""
    left, above, corner = (np.zeros_like(piece) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = piece[:, :-1], piece[:-1], piece[:-1, :-1]
    found = {
        1: left, 2: above, 3: corner, 4: left + above - corner, 5: left + (above - corner >> 1),
        6: above + (left - corner >> 1), 7: left + above >> 1,
    }[predictor].copy()  # fmt: skip
    found[0], found[1:, 0], found[0, 0] = left[0], above[1:, 0], start
    return found


def _blocks(blocks, scan, first, last):
    words, before = [], np.zeros(blocks.shape[1], int)
    for block in blocks:
        for sample in scan:
            levels = block[sample].tolist()
            if first == 0:
                words.append(_coded(levels[0] - int(before[sample]), _category))
                before[sample] = levels[0]
            words += _band(levels[max(first, 1) : last + 1])
    return _stuffed(words)


def _band(levels):
    """Code runs of zeros with the size of what follows, and the end of the block (F.1.2.2)."""
    words, run = [], 0
    for level in levels:
        if level == 0:
            run += 1
            continue
        words += [_run(0xF0)] * (run // 16)
        words.append(_coded(level, lambda size, zeros=run % 16: _run(zeros << 4 | size)))
        run = 0
    return [*words, _run(0)] if run else words


def _along_diagonals(place):
    """Order of figure A.6: along diagonals, odd ones downwards and even ones upwards."""
    row, column = place
    return row + column, row if (row + column) % 2 else column


def _coded(value, code):
    """Return the code of a size, then the value in that many bits, less one if it is negative."""
    size = abs(value).bit_length()
    low = value if value >= 0 else value + (1 << size) - 1
    return code(size) + (f"{low:0{size}b}" if 0 < size < 16 else "")  # 16 means 32768


def _category(size):
    return f"{size:05b}"


def _run(symbol):
    return f"{symbol:08b}" if symbol < _SHORT else f"{symbol + _SHORT:09b}"


def _stuffed(words):
    bits = "".join(words)
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")


def _start(process, shape, bits, tables, restart):
    rows, columns, samples = shape
    parts = b"".join(bytes([name, 0x11, 0]) for name in _names(samples))
    head = bytes([bits]) + rows.to_bytes(2) + columns.to_bytes(2) + bytes([samples]) + parts
    interval = _segment(0xDD, restart.to_bytes(2)) if restart else b""
    return b"\xff\xd8" + tables + interval + _segment(0xC0 + process, head)


def _scans(samples, *, apart):
    return [[s] for s in range(samples)] if apart else [list(range(samples))]


def _scan(scan, samples, start, end, low):
    parts = b"".join(bytes([_names(samples)[s], 0]) for s in scan)
    return _segment(0xDA, bytes([len(scan)]) + parts + bytes([start, end, low]))


def _names(samples):
    return b"RGB" if samples == 3 else bytes(range(1, samples + 1))


def _table(place, symbols):
    """Return a Huffman table whose codes count up with the symbols (B.2.4.2, annex C)."""
    counts = [0] * 16
    if len(symbols) <= 31:
        counts[4] = len(symbols)
    else:
        counts[7], counts[8] = _SHORT, len(symbols) - _SHORT
    return _segment(0xC4, bytes([place, *counts, *symbols]))


def _segment(code, body):
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2) + body
