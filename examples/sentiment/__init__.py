"""Whether a sentence of a film review praises, with MiniLM that others trained on sentences."""
