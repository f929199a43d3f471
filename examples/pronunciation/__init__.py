"""Words to phonemes: the encoder-decoder of 2017 on the dictionary of Carnegie Mellon University."""
