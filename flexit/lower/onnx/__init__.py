"""Lowering to ONNX: opset-18 primitives built node by node, never by tracing."""
