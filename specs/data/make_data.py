"""Makes the files of this folder from their sources; README.md says what those are.

    python specs/data/make_data.py digits              (needs scikit-learn and numpy)
    python specs/data/make_data.py motions TS_FOLDER   (needs BasicMotions_TRAIN.ts and BasicMotions_TEST.ts)

Made twice, from the same sources, the files are the same byte for byte. `--out FOLDER` writes elsewhere.
"""

import argparse
import csv
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
CHANNELS = ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")
EXAMPLES_PER_ACTIVITY = 4  # of the ten in the training split
HELD_BACK_FILES = 4
HELD_BACK_FROM = 1497  # the image classifier trains on the digits before this one
DIGITS_OF_EACH = 3
SCALE = 4  # file pixels to a pixel of the data set


@dataclass(frozen=True, slots=True)
class Recording:
    """Ten seconds of one person: 100 readings of six channels, as they are written in the source."""

    activity: str
    readings: tuple[tuple[str, ...], ...]


def main() -> None:
    """Reads the command line and writes one of the two sets."""
    parser = argparse.ArgumentParser(description="Makes the example data.")
    parser.add_argument("--out", type=Path, default=HERE)
    sets = parser.add_subparsers(dest="set", required=True)
    sets.add_parser("digits")
    sets.add_parser("motions").add_argument("ts_folder", type=Path)
    asked = parser.parse_args()
    if asked.set == "digits":
        make_digits(asked.out)
    else:
        make_motions(asked.ts_folder, asked.out)


def make_motions(source: Path, out: Path) -> None:
    """Writes `motions/nshot-<activity>.csv` of training recordings, `motions/held-back-<n>.csv` of test ones."""
    folder = out / "motions"
    folder.mkdir(parents=True, exist_ok=True)
    examples = defaultdict(list)
    for recording in read_ts(source / "BasicMotions_TRAIN.ts"):
        examples[recording.activity].append(recording)
    for day, (activity, recordings) in enumerate(sorted(examples.items()), start=5):
        write_recordings(folder / f"nshot-{activity}.csv", day, recordings[:EXAMPLES_PER_ACTIVITY])
    tests = list(read_ts(source / "BasicMotions_TEST.ts"))
    for number in range(HELD_BACK_FILES):
        # The split is sorted by activity; every fourth recording makes each file a mixture.
        write_recordings(folder / f"held-back-{number + 1}.csv", 12 + number, tests[number::HELD_BACK_FILES])


def read_ts(path: Path) -> Iterator[Recording]:
    """Yields the recordings of a `.ts` file: one a line, channels between colons, the class last."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#@":
            *channels, activity = line.split(":")
            readings = zip(*(channel.split(",") for channel in channels), strict=True)
            yield Recording(activity.strip().lower(), tuple(readings))


def write_recordings(path: Path, day: int, recordings: Iterable[Recording]) -> None:
    """Writes recordings one after the other. The times are made up: each begins on a minute, ten readings a second."""
    with path.open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow(["time", *CHANNELS, "activity"])
        for minute, recording in enumerate(recordings):
            begin = datetime(2026, 1, day, 9, minute, tzinfo=UTC)
            for number, reading in enumerate(recording.readings):
                time = begin + timedelta(milliseconds=100 * number)
                stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                out.writerow([stamp, *reading, recording.activity])


def make_digits(out: Path) -> None:
    """Writes `digits/digit-<place in the data set>.png`, every other one dark on light, and `digits/labels.csv`."""
    from sklearn.datasets import load_digits  # only this half needs it

    folder = out / "digits"
    folder.mkdir(parents=True, exist_ok=True)
    data = load_digits()
    found: dict[int, list[int]] = defaultdict(list)
    for place in range(HELD_BACK_FROM, len(data.target)):
        found[int(data.target[place])].append(place)
    labels = sorted((place, label) for label, places in found.items() for place in places[:DIGITS_OF_EACH])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as text:
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["file", "label"])
        for order, (place, label) in enumerate(labels):
            ink = [[round(255 * float(value) / 16) for value in row] for row in data.images[place]]
            grey = [[255 - value for value in row] for row in ink] if order % 2 else ink
            name = f"digit-{place}.png"
            (folder / name).write_bytes(png(enlarge(grey)))
            table.writerow([name, label])


def enlarge(rows: list[list[int]]) -> list[bytes]:
    """Repeats each pixel SCALE times both ways."""
    wide = [bytes(value for value in row for _ in range(SCALE)) for row in rows]
    return [row for row in wide for _ in range(SCALE)]


def png(rows: list[bytes]) -> bytes:
    """Writes rows of 8-bit grey as a PNG, uncompressed: compressors differ between versions, stored bytes do not.

    The image must be smaller than 64 KiB, the most that one stored block holds.
    """
    raw = b"".join(b"\0" + row for row in rows)
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF) + raw
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", stored + struct.pack(">I", zlib.adler32(raw))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


if __name__ == "__main__":
    main()
