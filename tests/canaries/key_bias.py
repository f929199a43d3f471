"""The one parameter that may do nothing: a bias of keys."""

from flexit.ir.spec import Spec


def moves_nothing(spec: Spec, path: str) -> bool:
    """Whether a parameter is a bias of keys that moves every score of a query alike, which softmax does not see.

    It does not where keys are turned or normalised, scores are capped or have a sink beside them, or a bias of the
    scores is made of keys.
    """
    blocks, rest = spec.locate(path)
    if rest != ("k_proj", "bias"):
        return False
    attention = blocks[-1]
    scores = attention.scores
    biases = [scores.bias, *(getattr(block, "score_bias", None) for block in blocks)]
    made_of_keys = any(bias is not None and bias.kind == "disentangled" for bias in biases)
    return not (attention.rotary or attention.qk.norm or scores.softcap or scores.sinks or made_of_keys)
