"""The embedded batch service: the platform's API, for real, on one machine.

A program of its own that ships in the same wheel. It imports nothing of the rest of the package.
"""
