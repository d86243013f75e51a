"""A reader beside ingests that are killed: everything that it can see has to be whole.

    python watcher.py BUCKET DISK STOP SEED

opens, until the file STOP appears, the archives ``s3://BUCKET/run*``, and compares voxels with the
archive DISK of a run that nothing happened to. What it saw goes to stdout as JSON.
"""

import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import s3fs

import sansfilm
from sansfilm.errors import ArchiveNotFoundError
from sansfilm.store.commit import find_volumes
from sansfilm.store.target import open_target
from sansfilm.store.verify import verify_volume
from sansfilm.view.volume import Volume


def main(bucket: str, disk: str, stop: Path, seed: int) -> dict:
    chance, files = random.Random(seed), s3fs.S3FileSystem(use_listings_cache=False)
    expected = open_target(disk)
    seen = {"looks": 0, "volumes": 0, "voxels": 0, "wrong": []}
    while not stop.exists():
        time.sleep(chance.uniform(0.05, 0.3))
        runs = sorted(name for name in files.ls(bucket, detail=False) if "/run" in name)
        if not runs:
            continue
        url = f"s3://{runs[-1] if chance.random() < 0.9 else chance.choice(runs)}"
        try:
            look(url, expected, chance, seen)
        except ArchiveNotFoundError:  # its first object is not there yet
            continue
        except Exception as exc:
            seen["wrong"].append(f"{url}: {type(exc).__name__}: {exc}")
    return seen


def look(url: str, expected, chance: random.Random, seen: dict) -> None:
    """Look at an archive as a user does, and at one of its volumes closely."""
    archive = sansfilm.open(url)
    rows = {row["key"] for row in archive.rows(history=True)}
    target = open_target(url)
    committed = set(find_volumes(target))  # after the rows: none may be without its volume
    seen["looks"] += 1
    if rows - committed:
        seen["wrong"].append(f"{url}: rows without a volume: {sorted(rows - committed)}")
    if not committed:
        return
    key = chance.choice(sorted(committed))
    seen["wrong"] += [f"{url}: {damage}" for damage in verify_volume(target, key)]
    found, right = Volume(target, key), Volume(expected, key)
    level = chance.randrange(len(right.levels))
    there, wanted = found.levels[level], right.levels[level]
    if there.shape != wanted.shape:
        seen["wrong"].append(f"{url}: {key} has shape {there.shape}, not {wanted.shape}")
        return
    low = [chance.randrange(size) for size in wanted.shape]
    part = tuple(slice(start, start + 40) for start in low)
    values = np.asarray(there[part])
    if not np.array_equal(values, np.asarray(wanted[part])):
        seen["wrong"].append(f"{url}: {key} level {level} {part} has other voxels")
    seen["volumes"] += 1
    seen["voxels"] += values.size


if __name__ == "__main__":
    seen = main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    sys.stdout.write(json.dumps(seen))
