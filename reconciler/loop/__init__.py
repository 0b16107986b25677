"""The loop of `reconciler run`: rounds of `apply`, one after the other, for as long as the process lives.

Nothing here decides about a job, or submits one: a round is what `apply --yes` does. The loop says when there is one,
of which commit, and tells what came of it to a log, to metrics and to whoever asks for its health.
"""
