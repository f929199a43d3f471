"""Tokenizers of other people's models, all in the form of the ``tokenizers`` library; nothing here needs torch."""
