"""Counts the words of each text file. Uses nothing of the service: it is the protocol, by hand."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

job = json.loads(sys.stdin.readline())


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


for number, item in enumerate(job["inputs"]["worker.text"]):
    say(type="input", input_id=item["id"], status="processing")
    words = Path(item["path"]).read_text().split()
    counts = Counter(word.lower() if job["config"]["lower"] else word for word in words)
    name = f"{item['file_id']}.csv"
    lines = [f"{word},{count}\n" for word, count in sorted(counts.items())]
    (Path(job["output_dir"]) / name).write_text("".join(lines))
    say(type="output", port="worker.counts", path=name, file_type="text/csv", input_id=item["id"])
    say(type="input", input_id=item["id"], status="completed")
    say(type="progress", kind="words", step=number, metrics={"items_processed": len(words)})
say(
    type="event",
    message="counted",
    payload={
        "index": job["index"],
        "parallelism": job["parallelism"],
        "stop_words": [Path(i["path"]).read_text() for i in job["inputs"]["worker.stop"]],
        "environment": sorted(os.environ),
        "working_folder": [path.name for path in Path().iterdir()],
    },
)
