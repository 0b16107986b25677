"""Prepares traps in its output folder, then names the path that it is told."""

import json
import os
import sys
from pathlib import Path

job = json.loads(sys.stdin.readline())
outputs = Path(job["output_dir"])
(outputs.parent / "outside.txt").write_text("outside")
(outputs / "link.txt").symlink_to(outputs.parent / "outside.txt")
(outputs / "folder").symlink_to(outputs.parent)
(outputs / "directory").mkdir()
(outputs / "directory" / "good.txt").write_text("good")
os.link(outputs.parent / "outside.txt", outputs / "hard.txt")
os.mkfifo(outputs / "pipe")
if "first" in job["config"]:
    print(json.dumps({"type": "output", "port": "out", "path": job["config"]["first"]}), flush=True)
path = job["config"]["path"].replace("{outside}", str(outputs.parent / "outside.txt"))
print(json.dumps({"type": "output", "port": job["config"].get("port", "out"), "path": path}), flush=True)
