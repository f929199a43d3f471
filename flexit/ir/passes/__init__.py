"""Program to program, one pass per file. Each is functional and idempotent."""
