"""Says its process ids and that of a child, then sleeps until it is killed, whatever happens to stdin."""

import json
import os
import subprocess
import sys
import time

job = json.loads(sys.stdin.readline())
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
payload = {"pids": [os.getpid(), child.pid]}
print(json.dumps({"type": "event", "event_type": "asleep", "payload": payload}), flush=True)
time.sleep(600)
