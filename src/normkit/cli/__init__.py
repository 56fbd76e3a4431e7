"""The command line: one small file per command, found by listing this folder."""

from normkit.cli._shell import app, main

__all__ = ["app", "main"]
