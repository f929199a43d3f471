"""A language model of bytes on plays and poems of Shakespeare."""
