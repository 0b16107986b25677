"""Makes the example data again, byte for byte: readings of a drilling rig, and an hour a line of room sensors.

    python make_data.py [--out DIR]

Nothing here was measured. The columns are those of the public Volve examples: block position, bit and hole depth, flow,
hook load, rate of penetration, rotation, pump pressure, weight on bit; a reading each five seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

COLUMNS = ["DATE_TIME", "BPOS", "DBTM", "FLWI", "HDTH", "HKLD", "ROP", "RPM", "SPPA", "WOB"]
START = datetime(2026, 1, 12, 6, tzinfo=UTC)
ROOMS = ("kitchen", "hall", "bedroom")


def readings(chance: random.Random, parts: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Rows of a rig that drills, or trips the string, for as many readings as each part says."""
    hole, block, moment = 2500.0, 20.0, START
    for state, count in parts:
        drilling = state == "drilling"
        direction = -1
        for _ in range(count):
            rate = chance.gauss(22, 3) if drilling else 0.0
            block += -rate * 5 / 3600 if drilling else direction * chance.gauss(0.9, 0.1)
            if not 2 < block < 30:
                direction, block = -direction, min(max(block, 2), 30)
            hole += max(rate, 0) * 5 / 3600
            values = [
                block,
                hole if drilling else hole - 40 - block,
                chance.gauss(2600, 25) if drilling else chance.gauss(350, 60),
                hole,
                chance.gauss(118, 1.5) if drilling else chance.gauss(135, 6),
                rate,
                chance.gauss(125, 3) if drilling else abs(chance.gauss(1, 1)),
                chance.gauss(212, 3) if drilling else chance.gauss(18, 4),
                chance.gauss(11, 1.2) if drilling else abs(chance.gauss(0.2, 0.2)),
            ]
            yield [moment.strftime("%Y-%m-%dT%H:%M:%SZ"), *(f"{value:.2f}" for value in values)]
            moment += timedelta(seconds=5)


def hours(chance: random.Random) -> Iterator[dict[str, object]]:
    """Records for activity-detection: what the sensor of a room said in an hour."""
    for hour in range(8):
        room = ROOMS[hour % len(ROOMS)]
        level = [round(max(0.0, chance.gauss(5 + hour, 2)), 1) for _ in range(12)]
        text = f"Motion in the {room}, each five minutes: " + ", ".join(map(str, level))
        yield {
            "instruction": "Say in a sentence what happens in the room.",
            "inputs": [{"type": "text", "format": "plain", "data": text}],
        }


def write_rows(path: Path, seed: int, parts: Sequence[tuple[str, int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow(COLUMNS)
        out.writerows(readings(random.Random(seed), parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "drilling.csv", 1, [("drilling", 200)])
    write_rows(folder / "not_drilling.csv", 2, [("not_drilling", 200)])
    write_rows(folder / "quick_test_200.csv", 3, [("not_drilling", 100), ("drilling", 100)])
    write_rows(folder / "eval_drilling.csv", 4, [("drilling", 150)])
    write_rows(folder / "eval_not_drilling.csv", 5, [("not_drilling", 150)])
    lines = [json.dumps(record) for record in hours(random.Random(6))]
    (folder / "hours.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
