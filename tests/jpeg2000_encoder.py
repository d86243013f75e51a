"""A lossless JPEG 2000 encoder in plain Python, slow and close to the text of ITU-T T.800.

It writes what OpenJPEG's encoder gets wrong (more than 25 bits, or noise that leaves the range of
its bit planes). One tile, one layer, one level of the 5/3 wavelet, one code block for each band:
images of at most 64 x 64, and at least 2 x 2.

Names are those of T.800: Qe, MPS and contexts of annex C and D, Mb is a band's number of planes.
"""

import numpy as np

_QE = [0x5601, 0x3401, 0x1801, 0x0AC1, 0x0521, 0x0221, 0x5601, 0x5401, 0x4801, 0x3801, 0x3001,
       0x2401, 0x1C01, 0x1601, 0x5601, 0x5401, 0x5101, 0x4801, 0x3801, 0x3401, 0x3001, 0x2801,
       0x2401, 0x2201, 0x1C01, 0x1801, 0x1601, 0x1401, 0x1201, 0x1101, 0x0AC1, 0x09C1, 0x08A1,
       0x0521, 0x0441, 0x02A1, 0x0221, 0x0141, 0x0111, 0x0085, 0x0049, 0x0025, 0x0015, 0x0009,
       0x0005, 0x0001, 0x5601]  # fmt: skip
_NMPS = [1, 2, 3, 4, 5, 38, 7, 8, 9, 10, 11, 12, 13, 29, *range(15, 46), 45, 46]
_NLPS = [1, 6, 9, 12, 29, 33, 6, 14, 14, 14, 17, 18, 20, 21, 14, 14, 15, 16, 17, 18, 19, 19, *range(
    20, 44), 46]  # fmt: skip
_SWITCH = (0, 6, 14)
"""Table C.2."""
_RUN, _UNIFORM = 17, 18
_GUARD = 4
_GAIN = (0, 1, 1, 2)
"""Of the bands LL, HL, LH, HH (table E.1)."""


def encode(image, bits, *, signed=False, transform=False):
    """Encode (rows, columns, samples); `transform` is the reversible one of colours (annex G)."""
    rows, columns, samples = image.shape
    planes = image.astype(object) - (0 if signed else 1 << bits - 1)  # numbers of any length
    if transform:
        red, green, blue = np.moveaxis(planes, -1, 0)
        planes = np.stack([(red + 2 * green + blue) // 4, blue - green, red - green], axis=-1)
    size = columns.to_bytes(4) + rows.to_bytes(4) + bytes(8)
    depth = bytes([bits - 1 | signed << 7, 1, 1])
    siz = bytes(2) + size + size + samples.to_bytes(2) + depth * samples
    # LRCP, one layer, one level, blocks of 64 x 64, no special modes, reversible
    cod = bytes([0, 0, 0, 1, int(transform), 1, 4, 4, 0, 1])
    exponents = [min(bits + gain + transform, 31) for gain in _GAIN]
    more = max(bits + gain + transform for gain in _GAIN) - 31
    guard = _GUARD if more < 0 else min(7, _GUARD + more)
    qcd = bytes([guard << 5, *(exponent << 3 for exponent in exponents)])
    main = b"\xff\x4f" + _segment(0x51, siz) + _segment(0x52, cod) + _segment(0x5C, qcd)
    bands = [_bands(planes[..., s]) for s in range(samples)]
    packets = b"".join(
        _packet([(bands[s][b], guard + exponents[b] - 1) for b in group])
        for group in ((0,), (1, 2, 3)) for s in range(samples)
    )  # fmt: skip
    part = _segment(0x90, bytes(2) + (14 + len(packets)).to_bytes(4) + b"\0\1")
    return main + part + b"\xff\x93" + packets + b"\xff\xd9"


def _segment(code, body):
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2) + body


def _bands(plane):
    """One level of the 5/3 wavelet, columns first (F.4.8.1): LL, HL, LH, HH."""
    low, high = _split(plane)
    (ll, hl), (lh, hh) = ([half.T for half in _split(part.T)] for part in (low, high))
    return ll, hl, lh, hh


def _split(lines):
    """Lift along the first axis; both ends are mirrored."""
    even, odd = lines[::2], lines[1::2]
    after = even[1:] if len(even) > len(odd) else np.concatenate([even[1:], even[-1:]])
    high = odd - (even[: len(odd)] + after) // 2
    before = np.concatenate([high[:1], high])[: len(even)]
    here = high if len(even) == len(odd) else np.concatenate([high, high[-1:]])
    return even + (before + here + 2) // 4, high


def _packet(bands):
    """Write the head of a packet (B.10), then its code blocks."""
    head, body = ["1"], b""
    for index, (band, most) in enumerate(bands):
        if band.size == 0:
            continue
        orientation = index if len(bands) > 1 else 3
        data, count, passes = _block(band, orientation)
        assert count <= most
        if passes == 0:
            head.append("0")
            continue
        head += ["1", "0" * (most - count), "1", _passes(passes)]
        length, at = len(data), 3 + passes.bit_length() - 1
        grow = max(0, length.bit_length() - at)
        head += ["1" * grow, "0", f"{length:0{at + grow}b}"]
        body += data
    return _bit_stuffed("".join(head)) + body


def _passes(count):
    """Table B.4."""
    if count <= 2:
        return "10"[: count - 1] + "0" if count == 2 else "0"
    if count <= 5:
        return "11" + f"{count - 3:02b}"
    return "1111" + f"{count - 6:05b}" if count <= 36 else "1" * 9 + f"{count - 37:07b}"


def _bit_stuffed(bits):
    """After a byte of ones comes a zero bit (B.10.1)."""
    out, at = bytearray(), 0
    while at < len(bits):
        size = 7 if out and out[-1] == 0xFF else 8
        out.append(int(bits[at : at + size].ljust(size, "0"), 2))
        at += size
    return bytes(out + b"\0" if out[-1] == 0xFF else out)


class _Coder:
    """The MQ coder (C.2)."""

    def __init__(self):
        self.a, self.c, self.left, self.out = 0x8000, 0, 12, bytearray([0])
        self.state, self.mps = [0] * 19, [0] * 19
        self.state[0], self.state[_RUN], self.state[_UNIFORM] = 4, 3, 46  # table D.7

    def put(self, bit, context):
        state = self.state[context]
        qe = _QE[state]
        self.a -= qe
        if bit == self.mps[context]:
            if self.a & 0x8000:
                self.c += qe
                return
            if self.a < qe:
                self.a = qe
            else:
                self.c += qe
            self.state[context] = _NMPS[state]
        else:
            if self.a < qe:
                self.c += qe
            else:
                self.a = qe
            if state in _SWITCH:
                self.mps[context] ^= 1
            self.state[context] = _NLPS[state]
        while not self.a & 0x8000:
            self.a, self.c, self.left = self.a << 1, self.c << 1, self.left - 1
            if self.left == 0:
                self._byte()

    def _byte(self):
        if self.out[-1] != 0xFF and self.c >= 0x8000000:
            self.out[-1] += 1
            self.c &= 0x7FFFFFF
        shift, self.left = (20, 7) if self.out[-1] == 0xFF else (19, 8)
        self.out.append(self.c >> shift)
        self.c &= (1 << shift) - 1

    def flush(self):
        ones = self.c + self.a
        self.c |= 0xFFFF
        if self.c >= ones:
            self.c -= 0x8000
        for _ in range(2):
            self.c <<= self.left
            self._byte()
        out = bytes(self.out[1:])
        return out[:-1] if out.endswith(b"\xff") else out


def _block(band, orientation):
    """Code the planes of a block (annex D): bytes, planes that are not empty, passes."""
    height, width = band.shape
    size = {(y, x): abs(int(band[y, x])) for y in range(height) for x in range(width)}
    minus = {place: int(int(band[place]) < 0) for place in size}
    count = max(size.values()).bit_length()
    if count == 0:
        return b"", 0, 0
    coder, found, refined = _Coder(), set(), set()
    stripes = [[(y, x) for y in range(top, min(top + 4, height))]
               for top in range(0, height, 4) for x in range(width)]  # fmt: skip

    def around(place):
        y, x = place
        flat = ((y, x - 1) in found) + ((y, x + 1) in found)
        tall = ((y - 1, x) in found) + ((y + 1, x) in found)
        corners = sum((y + j, x + i) in found for j in (-1, 1) for i in (-1, 1))
        return flat, tall, corners

    def sign(place):
        y, x = place

        def side(*places):
            total = sum(1 - 2 * minus[p] for p in places if p in found)
            return max(-1, min(1, total))

        flat, tall = side((y, x - 1), (y, x + 1)), side((y - 1, x), (y + 1, x))
        flip = flat < 0 or (flat == 0 and tall < 0)
        if flip:
            flat, tall = -flat, -tall
        coder.put(minus[place] ^ flip, 9 + 3 * flat + tall if flat == 0 else 12 + tall)
        found.add(place)

    for plane in range(count - 1, -1, -1):
        visited = set()
        if plane < count - 1:
            for column in stripes:  # significance propagation
                for place in column:
                    if place in found or not any(around(place)):
                        continue
                    visited.add(place)
                    bit = size[place] >> plane & 1
                    coder.put(bit, _significance(orientation, *around(place)))
                    if bit:
                        sign(place)
            for column in stripes:  # magnitude refinement
                for place in column:
                    if place not in found or place in visited:
                        continue
                    context = 16 if place in refined else 14 + any(around(place))
                    coder.put(size[place] >> plane & 1, context)
                    refined.add(place)
        for column in stripes:  # cleanup
            rest = [p for p in column if p not in found and p not in visited]
            if len(rest) == 4 and not any(any(around(p)) for p in column):
                ones = [n for n, p in enumerate(column) if size[p] >> plane & 1]
                coder.put(int(bool(ones)), _RUN)
                if not ones:
                    continue
                coder.put(ones[0] >> 1, _UNIFORM)
                coder.put(ones[0] & 1, _UNIFORM)
                sign(column[ones[0]])
                rest = column[ones[0] + 1 :]
            for place in rest:
                bit = size[place] >> plane & 1
                coder.put(bit, _significance(orientation, *around(place)))
                if bit:
                    sign(place)
    return coder.flush(), count, 3 * count - 2


def _significance(orientation, flat, tall, corners):
    """Table D.1; orientation 0 is HL, 1 LH, 2 HH, 3 LL."""
    if orientation == 2:
        beside = flat + tall
        if corners >= 2:
            return 8 if corners >= 3 else 6 + (beside >= 1)
        return 3 + min(beside, 2) if corners else min(beside, 2)
    if orientation == 0:
        flat, tall = tall, flat
    if flat == 2:
        return 8
    if flat == 1:
        return 7 if tall else 5 + (corners >= 1)
    return 2 + tall if tall else min(corners, 2)
