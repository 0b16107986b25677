"""A pipeline for the tests: writes its text, fails, or runs until it is stopped, as its config says."""

import json
import sys
from pathlib import Path

work = json.loads(sys.stdin.readline())
if work["config"]["end"] == "never":
    sys.stdin.read()
    sys.exit(1)
if work["config"]["end"] == "failed":
    error = {"code": "asked_to_fail", "message": "the config says so", "suggestion": "write end: completed"}
    print(json.dumps({"type": "error", "error": error}), flush=True)
    sys.exit(1)
Path(work["output_dir"], "text.txt").write_text(work["config"]["text"] + "\n")
print(json.dumps({"type": "output", "port": "worker.text", "path": "text.txt", "file_type": "text/plain"}), flush=True)
