"""Writes all that a worker must not write, and then does its work."""

import json
import sys

job = json.loads(sys.stdin.readline())
out = sys.stdout.buffer
out.write(b"hello\n")
out.write(b'{"type": "unheard-of"}\n')
out.write(b'{"type": "progress", "kind": "k", "step": NaN}\n')
out.write(b'{"type": "event", "message": "\\ud800"}\n')
out.write(b'{"type": "input", "input_id": "inp_of_another_job", "status": "failed"}\n')
out.write(b"\xff\xfe\n")
out.write(b"x" * 3_000_000 + b"\n")
out.write(b"noise\n" * 1000)
out.write(b'{"type": "event", "event_type": "sense", "message": "after all that"}')  # no line end
out.flush()
