"""Other people's checkpoints in and out: configuration to spec, tensors to canonical names, and back."""
