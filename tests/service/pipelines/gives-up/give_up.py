"""Index 0 gives up on its input with an error line; the others wait until they are stopped."""

import json
import sys

job = json.loads(sys.stdin.readline())
if job["index"] == 0:
    item = job["inputs"]["data"][0]
    print(json.dumps({"type": "input", "input_id": item["id"], "status": "processing"}), flush=True)
    error = {"code": "column_not_found", "message": "there is no column 'p'", "suggestion": "name it"}
    print(json.dumps({"type": "error", "error": error}), flush=True)
    sys.exit(1)
sys.stdin.read()
