"""Frequencies of rotary pairs under each scaling, written from the papers pair by pair."""

import math

import numpy as np


def frequencies(scaling, theta, dim, *, head_dim, n):
    """The frequency of each pair in a row of length ``n``, and the factor on cosines and sines."""
    base = [1.0 / theta ** (2 * pair / dim) for pair in range(dim // 2)]
    if scaling is None:
        return base, 1.0
    return SCALINGS[scaling.kind](scaling, theta, dim, base=base, head_dim=head_dim, n=n)


def linear(scaling, theta, dim, *, base, head_dim, n):
    return [f / scaling.get("factor") for f in base], 1.0


def larger(theta, growth, dim):
    """Frequencies of a base that grew so that the last pair but one turns slower by ``growth``."""
    bigger = theta * growth ** (dim / (dim - 2))
    return [1.0 / bigger ** (2 * pair / dim) for pair in range(dim // 2)]


def dynamic(scaling, theta, dim, *, base, head_dim, n):
    factor, trained = scaling.get("factor"), scaling.get("original_max_len")
    return larger(theta, factor * max(n, trained) / trained - (factor - 1), dim), 1.0


def ntk(scaling, theta, dim, *, base, head_dim, n):
    return larger(theta, scaling.get("alpha"), dim), 1.0


def proportional(scaling, theta, dim, *, base, head_dim, n):
    return [1.0 / theta ** (2 * pair / head_dim) / scaling.get("factor", 1.0) for pair in range(dim // 2)], 1.0


def yarn(scaling, theta, dim, *, base, head_dim, n):
    factor, trained = scaling.get("factor"), scaling.get("original_max_len")

    def pair_that_turns(times):
        """Which pair makes so many turns over the trained length, as a real number."""
        return dim * math.log(trained / (times * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_that_turns(scaling.get("beta_fast", 32.0)), pair_that_turns(scaling.get("beta_slow", 1.0))
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    high = high + 0.001 if low == high else high
    blended = []
    for pair, f in enumerate(base):
        kept = 1 - float(np.clip((pair - low) / (high - low), 0, 1))
        blended.append(f / factor * (1 - kept) + f * kept)

    def magnitude(scale):
        return 0.1 * scale * math.log(factor) + 1.0

    given, one, two = (scaling.get(name, None) for name in ("attention_factor", "mscale", "mscale_all_dim"))
    if given is not None:
        return blended, given
    return blended, magnitude(1) if one is None else magnitude(one) / magnitude(two)


def llama3(scaling, theta, dim, *, base, head_dim, n):
    factor, trained = scaling.get("factor"), scaling.get("original_max_len")
    low, high = scaling.get("low_freq_factor"), scaling.get("high_freq_factor")
    changed = []
    for f in base:
        wavelength = 2 * math.pi / f
        if wavelength > trained / low:
            changed.append(f / factor)
        elif wavelength < trained / high:
            changed.append(f)
        else:
            smooth = (trained / wavelength - low) / (high - low)
            changed.append((1 - smooth) * f / factor + smooth * f)
    return changed, 1.0


def longrope(scaling, theta, dim, *, base, head_dim, n):
    trained, factor = scaling.get("original_max_len"), scaling.get("factor")
    short, long = scaling.get("short_factor"), scaling.get("long_factor")
    size = scaling.get("attention_factor", None) or math.sqrt(1 + math.log(factor) / math.log(trained))
    return [f / divisor for f, divisor in zip(base, long if n > trained else short, strict=True)], size


SCALINGS = {
    "linear": linear, "dynamic": dynamic, "ntk": ntk, "proportional": proportional, "yarn": yarn, "llama3": llama3,
    "longrope": longrope,
}  # fmt: skip
