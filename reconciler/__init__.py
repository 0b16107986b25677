"""Declarative batch jobs: specs in git, a reviewable plan, one job for each spec."""

__version__ = "0.1.0"
