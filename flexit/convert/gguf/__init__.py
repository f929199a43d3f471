"""GGUF files as models: what llama.cpp's metadata and names of tensors say, read and written."""
