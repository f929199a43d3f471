"""The language of mapping files: a spec with holes that a configuration fills, and from which one is read back."""
