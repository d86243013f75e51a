"""A JPEG-LS encoder in plain Python, slow and close to the text of ITU-T T.87.

It writes what CharLS does not: restart markers, preset parameters, two components that alternate.
CharLS 2.4 reads most of that, but takes the largest sample from the precision whatever MAXVAL says,
knows no other RESET where samples alternate, and refuses two components that do.

Names are those of T.87: A, B, C, N, Nn are the variables of contexts, Q is a context's number.
"""

from dataclasses import dataclass

import numpy as np

J = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, *range(10, 16)]
NONE, LINE, SAMPLE = range(3)


@dataclass(frozen=True)
class Preset:
    """LSE parameters; 0 is the default."""

    maxval: int = 0
    t1: int = 0
    t2: int = 0
    t3: int = 0
    reset: int = 0


def encode(image, bits, *, near=0, interleave=NONE, restart=0, preset=None):
    """Encode (rows, columns, samples); `restart` is the interval in lines."""
    how = {"near": near, "interleave": interleave, "restart": restart, "preset": preset}
    return encode_and_see(image, bits, **how)[0]


def encode_and_see(image, bits, *, near=0, interleave=NONE, restart=0, preset=None):
    """Encode, and return also what a decoder has to make of it."""
    rows, columns, samples = image.shape
    out, seen = bytearray(b"\xff\xd8"), np.empty_like(image)
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(samples))
    head = bytes([bits]) + rows.to_bytes(2) + columns.to_bytes(2) + bytes([samples]) + parts
    out += marker(0xF7, head)
    if preset is not None:
        words = (preset.maxval, preset.t1, preset.t2, preset.t3, preset.reset)
        out += marker(0xF8, b"\1" + b"".join(word.to_bytes(2) for word in words))
    if restart:
        out += marker(0xDD, restart.to_bytes(2))
    parameters = Parameters(bits, near, preset or Preset())
    scans = [[s] for s in range(samples)] if interleave == NONE else [list(range(samples))]
    for scan in scans:
        parts = b"".join(bytes([number + 1, 0]) for number in scan)
        out += marker(0xDA, bytes([len(scan)]) + parts + bytes([near, interleave, 0]))
        step = restart or rows
        for number, row in enumerate(range(0, rows, step)):
            if row:
                out += bytes([0xFF, 0xD0 + (number - 1) % 8])
            piece = image[row : row + step, :, scan].astype(int)
            interval = Interval(parameters)
            out += interval.encode(piece, interleave)
            seen[row : row + step, :, scan] = interval.rec[2:]
    return bytes(out + b"\xff\xd9"), seen


def marker(code, body):
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2) + body


class Parameters:
    """Section A.2.1 and C.2.4.1.1.1."""

    def __init__(self, bits, near, preset):
        self.near = near
        self.maxval = preset.maxval or 2**bits - 1
        self.reset = preset.reset or 64

        def clamp(i, j):
            return j if i > self.maxval or i < j else i

        if self.maxval >= 128:
            factor = (min(self.maxval, 4095) + 128) // 256
            t1 = clamp(factor * (3 - 2) + 2 + 3 * near, near + 1)
            t2 = clamp(factor * (7 - 3) + 3 + 5 * near, t1)
            t3 = clamp(factor * (21 - 4) + 4 + 7 * near, t2)
        else:
            factor = 256 // (self.maxval + 1)
            t1 = clamp(max(2, 3 // factor + 3 * near), near + 1)
            t2 = clamp(max(3, 7 // factor + 5 * near), t1)
            t3 = clamp(max(4, 21 // factor + 7 * near), t2)
        self.t1, self.t2, self.t3 = preset.t1 or t1, preset.t2 or t2, preset.t3 or t3
        self.range = (self.maxval + 2 * near) // (2 * near + 1) + 1
        self.qbpp = (self.range - 1).bit_length()
        bpp = max(2, self.maxval.bit_length())
        self.limit = 2 * (bpp + max(8, bpp))


class Interval:
    """What is coded from one start to the next."""

    def __init__(self, parameters):
        self.p = parameters
        start = max(2, (parameters.range + 32) // 64)
        self.a, self.n = [start] * 367, [1] * 367
        self.b, self.c, self.nn = [0] * 365, [0] * 365, [0, 0]
        self.bits = []

    def encode(self, image, interleave):
        rows, columns, samples = image.shape
        # One column before, two lines above and one column behind what is coded (figure A.2).
        self.image, self.columns = image, columns
        self.rec = np.zeros((rows + 2, columns, samples), int).tolist()
        groups = [[s] for s in range(samples)] if interleave == LINE else [list(range(samples))]
        run_index = [0] * len(groups)
        for row in range(rows):
            for number, group in enumerate(groups):
                run_index[number] = self.line(row, group, run_index[number])
        return stuffed(self.bits)

    def neighbours(self, row, x, s):
        above, second = self.rec[row + 1], self.rec[row]
        rb = above[x][s]
        rd = above[x + 1][s] if x + 1 < self.columns else rb
        rc = above[x - 1][s] if x else second[0][s]
        ra = self.rec[row + 2][x - 1][s] if x else rb
        return ra, rb, rc, rd

    def line(self, row, group, run_index):
        x, near = 0, self.p.near
        source, rec = self.image[row].tolist(), self.rec[row + 2]
        while x < self.columns:
            around = [self.neighbours(row, x, s) for s in group]
            gradients = [(rd - rb, rb - rc, rc - ra) for ra, rb, rc, rd in around]
            if any(abs(d) > near for three in gradients for d in three):
                for s, (ra, rb, rc, _), three in zip(group, around, gradients, strict=True):
                    rec[x][s] = self.regular(source[x][s], ra, rb, rc, three)
                x += 1
                continue
            count = 0
            while x < self.columns and all(
                abs(source[x][s] - around[i][0]) <= near for i, s in enumerate(group)
            ):
                for i, s in enumerate(group):
                    rec[x][s] = around[i][0]
                x += 1
                count += 1
            while count >= 1 << J[run_index]:
                self.put(1, 1)
                count -= 1 << J[run_index]
                run_index = min(run_index + 1, 31)
            if x == self.columns:
                if count:
                    self.put(1, 1)
                return run_index
            self.put(0, 1)
            self.put(count, J[run_index])
            for i, s in enumerate(group):
                ra, rb = around[i][0], self.neighbours(row, x, s)[1]
                kind = int(len(group) == 1 and abs(ra - rb) <= near)
                rec[x][s] = self.interruption(source[x][s], ra, rb, kind, J[run_index])
            run_index = max(run_index - 1, 0)
            x += 1
        return run_index

    def regular(self, ix, ra, rb, rc, gradients):
        q = 0
        for d in gradients:
            q = q * 9 + self.quantised(d)
        sign, q = (-1, -q) if q < 0 else (1, q)
        if rc >= max(ra, rb):
            px = min(ra, rb)
        elif rc <= min(ra, rb):
            px = max(ra, rb)
        else:
            px = ra + rb - rc
        px = min(max(px + sign * self.c[q], 0), self.p.maxval)
        error = self.error(sign * (ix - px))
        k = self.k(self.n[q], self.a[q])
        if self.p.near == 0 and k == 0 and 2 * self.b[q] <= -self.n[q]:
            mapped = 2 * error + 1 if error >= 0 else -2 * (error + 1)
        else:
            mapped = 2 * error if error >= 0 else -2 * error - 1
        self.golomb(mapped, k, self.p.limit)
        self.b[q] += error * (2 * self.p.near + 1)
        self.a[q] += abs(error)
        if self.n[q] == self.p.reset:
            self.a[q] //= 2
            self.b[q] = self.b[q] // 2 if self.b[q] >= 0 else -((1 - self.b[q]) // 2)
            self.n[q] //= 2
        self.n[q] += 1
        if self.b[q] <= -self.n[q]:
            self.b[q] = max(self.b[q] + self.n[q], 1 - self.n[q])
            self.c[q] = max(self.c[q] - 1, -128)
        elif self.b[q] > 0:
            self.b[q] = min(self.b[q] - self.n[q], 0)
            self.c[q] = min(self.c[q] + 1, 127)
        return self.reconstructed(px, sign * error)

    def interruption(self, ix, ra, rb, kind, j):
        px = ra if kind else rb
        sign = -1 if not kind and ra > rb else 1
        error = self.error(sign * (ix - px))
        q = 365 + kind
        k = self.k(self.n[q], self.a[q] + self.n[q] // 2 if kind else self.a[q])
        often = 2 * self.nn[kind] >= self.n[q]
        swap = (error > 0 and k == 0 and not often) or (error < 0 and (often or k != 0))
        mapped = 2 * abs(error) - kind - int(swap)
        self.golomb(mapped, k, self.p.limit - j - 1)
        self.nn[kind] += error < 0
        self.a[q] += (mapped + 1 - kind) // 2
        if self.n[q] == self.p.reset:
            self.a[q] //= 2
            self.n[q] //= 2
            self.nn[kind] //= 2
        self.n[q] += 1
        return self.reconstructed(px, sign * error)

    def quantised(self, d):
        limits = (self.p.near + 1, self.p.t1, self.p.t2, self.p.t3)
        size = sum(abs(d) >= limit for limit in limits)
        return size if d > 0 else -size

    def error(self, error):
        near, step = self.p.near, 2 * self.p.near + 1
        error = (error + near) // step if error > 0 else -((near - error) // step)
        if error < 0:
            error += self.p.range
        return error - self.p.range if error >= (self.p.range + 1) // 2 else error

    def reconstructed(self, px, error):
        near, step = self.p.near, 2 * self.p.near + 1
        rx = px + error * step
        if rx < -near:
            rx += self.p.range * step
        elif rx > self.p.maxval + near:
            rx -= self.p.range * step
        return min(max(rx, 0), self.p.maxval)

    def k(self, n, a):
        k = 0
        while n << k < a:
            k += 1
        return k

    def golomb(self, mapped, k, limit):
        if mapped >> k < limit - self.p.qbpp - 1:
            self.put(1, (mapped >> k) + 1)
            self.put(mapped & ((1 << k) - 1), k)
        else:
            self.put(1, limit - self.p.qbpp)
            self.put(mapped - 1, self.p.qbpp)

    def put(self, value, width):
        self.bits.extend((value >> place) & 1 for place in reversed(range(width)))


def stuffed(bits):
    """Pack bits, highest first; a zero follows each FF (A.1)."""
    out, at = bytearray(), 0
    while at < len(bits) or (out and out[-1] == 0xFF):
        width = 7 if out and out[-1] == 0xFF else 8
        taken = bits[at : at + width]
        at += width
        value = 0
        for bit in taken + [0] * (width - len(taken)):
            value = value * 2 + bit
        out.append(value)
    return bytes(out)
