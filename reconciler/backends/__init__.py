"""Where the record lies, and how it is locked: in a file of this machine, or in a register that many machines share.

A register holds one document: the bytes of the state, those of the journal, and the note of the lock. It changes by
compare-and-swap alone, so whoever lost the lock is refused at the next write, before anything more is submitted.
"""

from reconciler.backends.open import open_store
from reconciler.backends.snapshot import Hold, Snapshot, Store

__all__ = ["Hold", "Snapshot", "Store", "open_store"]
