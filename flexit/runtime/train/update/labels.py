"""The label that does not count."""

IGNORED = -100
"""A label that is not learned (PyTorch's own default)."""
