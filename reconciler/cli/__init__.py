"""The command line: options → one call → a report → an exit code. The only package that prints or exits."""

from reconciler.cli.main import main, run

__all__ = ["main", "run"]
