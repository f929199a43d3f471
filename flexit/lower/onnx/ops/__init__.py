"""One file per primitive op: ``lower(node, e)`` emits ONNX nodes and returns its results."""
