"""Opening other people's checkpoint files without running code of theirs: the configuration, and tensors by name."""
