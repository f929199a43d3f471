"""Lowering to PyTorch: stock modules at IR paths, and straight-line code generated once per region."""
