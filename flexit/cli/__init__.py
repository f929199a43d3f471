"""The command line. Every command is a thin call into the library."""

from flexit.cli.app import main

__all__ = ["main"]
