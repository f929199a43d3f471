"""One model of ``transformers`` and ours on the same inputs."""

import inspect
from random import Random

import numpy as np
import torch

from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession

TOLERANCE = 1e-5
NAMES = {"pooled": "pooler_output", "hidden": "last_hidden_state"}
"""Our outputs whose names differ from theirs."""


def module_of(pretrained):
    """A lowered module on imported weights."""
    return to_torch(pretrained.spec, {path: tensor.torch() for path, tensor in pretrained.weights.items()}).eval()


READ_AT_THE_END: set[type] = set()
"""Classes that read the result at the last ``eos_token_id``, which then ends each row and stands nowhere else."""


def inputs_for(module, model, padding, seed=0, length=11):
    """Two rows of ids for every input that the module has; the second one is padded."""
    config = model.config
    rng = Random(seed)
    pad = getattr(config, "pad_token_id", None) or 0
    size = config.vocab_size
    mask = torch.ones(2, length, dtype=torch.int64)
    if padding == "left":
        mask[1, : length // 3] = 0
    elif padding == "right":
        mask[1, -(length // 3) :] = 0
    found = {}
    for entry in module.program.inputs:
        if entry.name.endswith("input_ids"):
            ids = torch.tensor([[drawn_id(rng, size, pad) for _ in range(length)] for _ in range(2)])
            if type(model) in READ_AT_THE_END:
                ids = torch.where(ids == config.eos_token_id, config.eos_token_id + 1, ids)
                ids.scatter_(1, (mask.cumsum(1) * mask).argmax(1, keepdim=True), config.eos_token_id)
            found[entry.name] = torch.where(mask.bool(), ids, pad)
        elif entry.name == "encoder_hidden_states":
            chance = torch.Generator().manual_seed(seed)
            found[entry.name] = torch.randn(2, length + 2, config.hidden_size, generator=chance)
        elif entry.name == "encoder_attention_mask":
            found[entry.name] = torch.ones(2, length + 2, dtype=torch.int64)
        elif entry.name.endswith("attention_mask"):
            found[entry.name] = mask
        elif entry.name == "token_type_ids":
            types = getattr(config, "type_vocab_size", 1) or 1
            found[entry.name] = torch.tensor([[rng.randrange(types) for _ in range(length)] for _ in range(2)])
    return found


MARGIN = 1e-5
"""Scores of experts that are nearer than this may be ordered differently by either side."""
INCONCLUSIVE = 2
"""Draws that may be left out for that, one after the other: of the usual two in a hundred."""


def decided_inputs(model, module, padding, seed=0):
    """Inputs on which no router of theirs is undecided: both sides send every token to the same experts."""
    for attempt in range(INCONCLUSIVE + 1):
        inputs = inputs_for(module, model, padding, seed + 1000 * attempt)
        if routing_margin(model, inputs) > MARGIN:
            return inputs
    raise AssertionError(f"each of {INCONCLUSIVE + 1} draws has a token between two experts")


def routing_margin(model, inputs):
    """The smallest distance between what two experts, or groups of them, are chosen by, over all routers and unpadded
    tokens; infinite without routers.
    """
    nearest = [float("inf")]
    valid = inputs["attention_mask"].flatten().bool() if "attention_mask" in inputs else None

    def note(router, given):
        layer = next(part for part in (router, *router.children()) if getattr(part, "weight", None) is not None)
        scores = torch.nn.functional.linear(given[0].reshape(-1, layer.weight.shape[1]), layer.weight)
        bias = given[1] if len(given) > 1 else getattr(router, "e_score_correction_bias", None)
        scores = scores + biased(layer) if bias is None else scores.sigmoid() + bias
        groups = scores.reshape(len(scores), getattr(router, "num_group", None) or 1, -1)
        for each in (scores, groups.max(-1).values, groups.topk(min(2, groups.shape[-1])).values.sum(-1)):
            kept = each[valid] if valid is not None and len(valid) == len(each) else each
            if kept.shape[-1] > 1:
                nearest.append(float(kept.sort(-1).values.diff(dim=-1).min()))

    routers = [each for each in model.modules() if type(each).__name__.endswith("Router")]
    hooks = [router.register_forward_pre_hook(note) for router in routers]
    if routers:
        theirs_on(model, inputs)
    for hook in hooks:
        hook.remove()
    return min(nearest)


def biased(layer):
    """What a linear layer adds, if it does."""
    bias = getattr(layer, "bias", None)
    return 0.0 if bias is None else bias


def drawn_id(rng, size, pad):
    """A token that is no padding."""
    return rng.choice([number for number in range(size) if number != pad])


def theirs_on(model, inputs):
    """Outputs of a model of ``transformers`` by their names, with the position ids of its own ``generate``."""
    if turns_by_length(model.config):
        return by_row(model, inputs)
    takes = inspect.signature(model.forward).parameters
    given = dict(inputs)
    if "position_ids" in takes and decodes(model):
        given["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    if "encoder_hidden_states" in inputs and "encoder_outputs" in takes:
        given["encoder_outputs"] = inputs["encoder_hidden_states"]
    with torch.no_grad():
        found = model(**{name: value for name, value in given.items() if name in takes})
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def turns_by_length(config):
    """Whether rotations depend on the longest row: theirs on that of the batch, ours on each; or theirs counts pads."""
    if config.model_type in COUNTS_PADS:
        return True
    given = getattr(config, "rope_parameters", None) or {}
    several = [each for each in given.values() if isinstance(each, dict)] or [given]
    return any(each.get("rope_type") in ("dynamic", "longrope") for each in several)


def by_row(model, inputs):
    """Outputs of each row alone, without its padding."""
    found = {}
    for row, mask in enumerate(inputs["attention_mask"].bool()):
        with torch.no_grad():
            alone = model(**{name: value[row : row + 1, mask] for name, value in inputs.items()})
        for name, value in alone.items():
            if not isinstance(value, torch.Tensor):
                continue
            per_token = value.shape[:2] == (1, int(mask.sum()))
            whole = torch.zeros(len(mask), *value.shape[2:]) if per_token else value[0]
            if per_token:
                whole[mask] = value[0]
            found.setdefault(name, []).append(whole)
    return {name: torch.stack(values) for name, values in found.items()}


def decodes(model):
    """Whether a model reads from left to right and has no encoder."""
    config = model.config
    is_decoder = getattr(config, "is_decoder", None)
    causal = type(model).__name__.endswith(("ForCausalLM", "LMHeadModel")) if is_decoder is None else is_decoder
    return not config.is_encoder_decoder and (causal or config.model_type in DECODERS)


COUNTS_PADS: set[str] = set()
"""Model types whose positions count pads though they are told others; drawn modules add theirs."""
DECODERS: set[str] = set()
"""Model types whose models read from left to right whatever their head; drawn modules add theirs."""


def errors(model, module, padding, seed=0):
    """Relative error of each of our outputs on unpadded slots."""
    inputs = decided_inputs(model, module, padding, seed)
    expected = theirs_on(model, inputs)
    with torch.no_grad():
        found = module(**inputs)
    side = "decoder_attention_mask" if "decoder_attention_mask" in inputs else "attention_mask"
    valid = inputs[side].bool().numpy()
    result = {}
    for name, value in found.items():
        their = expected[NAMES.get(name, name)].numpy()
        their = their[..., None] if their.ndim + 1 == value.ndim else their  # one score for each token
        per_token = their.ndim > 1 and their.shape[:2] == valid.shape and name != "pooled"
        if padding == "left" and not per_token and not decodes(model):
            continue  # theirs pools the first slot, which is a pad there; ours the first token
        result[name] = relative_error(value.numpy(), their, valid if per_token else None)
    return result


def cached_error(model, module, padding, seed=0):
    """Relative error of our scores for the last tokens, decoded one by one, against their whole run."""
    inputs = decided_inputs(model, module, padding, seed)
    expected = theirs_on(model, inputs)["logits"].numpy()
    arrays = {name: value.numpy() for name, value in inputs.items()}
    ids = next(name for name in ("decoder_input_ids", "input_ids") if name in arrays)
    mask = ids.replace("input_ids", "attention_mask")
    start = arrays[ids].shape[1] - 4
    session = TorchSession(module)
    first = {**arrays, ids: arrays[ids][:, :start], mask: arrays[mask][:, :start]}
    worst = [relative_error(session.start(first), expected[:, start - 1], arrays[mask][:, start - 1] > 0)]
    for at in range(start, arrays[ids].shape[1]):
        scores = session.step(arrays[ids][:, at : at + 1], arrays[mask][:, at : at + 1])
        worst.append(relative_error(scores[:, -1], expected[:, at], arrays[mask][:, at] > 0))
    return float(np.max(worst))
