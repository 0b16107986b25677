"""The performance suite: `make bench`. README.md in this folder says how it is measured."""
