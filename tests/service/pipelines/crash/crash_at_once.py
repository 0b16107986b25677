"""Dies without an error line, after control characters on stderr."""

import os
import sys

sys.stdin.readline()
sys.stderr.write("about to fall\n\x1b[31mfell over\x07\n")
sys.stderr.flush()
os._exit(3)
