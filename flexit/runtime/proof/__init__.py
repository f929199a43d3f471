"""Proof that two lowerings of one program compute the same numbers. It says nothing about the expansion itself."""
