"""Every rotary scaling, below and above its original length (the rows of a case are up to 7 long)."""

from tests.oracles.cases.attention import heads


def scaled(name, kind, *, passed=(), dim=8, style="half", head_dim=8, mask="causal", theta=50.0, **fields):
    rotary = {"theta": theta, "dim": dim, "style": style, "scaling": {"kind": kind, **fields}}
    return heads(f"scaling {kind} {name}", passed, rotary=rotary, n_heads=2, head_dim=head_dim, mask=mask)


BANDS = {"low_freq_factor": 1.0, "high_freq_factor": 3.0}
LISTS = {"short_factor": [1.0, 1.25, 1.5, 2.0], "long_factor": [1.0, 3.0, 5.0, 9.0]}

CASES = [
    scaled("whole", "linear", factor=4.0),
    scaled("part", "linear", factor=0.5, dim=4, style="interleaved"),
    scaled("short", "dynamic", factor=2.0, original_max_len=16),
    scaled("long", "dynamic", factor=3.0, original_max_len=4),
    scaled("long both ways", "dynamic", factor=3.0, original_max_len=3, mask="full", dim=6),
    scaled("at passed positions", "dynamic", factor=2.0, original_max_len=5, passed=("position_ids",)),
    scaled("whole", "ntk", alpha=30.0),
    scaled("part", "ntk", alpha=5.0, dim=4, style="interleaved"),
    scaled("part", "proportional", dim=4, factor=2.0),
    scaled("whole", "proportional", factor=0.5),
    scaled("default", "proportional", dim=6),
    scaled("wide ramp", "yarn", factor=4.0, original_max_len=64, beta_fast=8.0, beta_slow=0.25),
    scaled("defaults", "yarn", factor=4.0, original_max_len=200, theta=1e4, head_dim=16, dim=16),
    scaled("exact ends", "yarn", factor=4.0, original_max_len=64, beta_fast=8.0, beta_slow=0.25, truncate=False),
    scaled("rounded ends", "yarn", factor=2.0, original_max_len=32, beta_fast=9.0, truncate=True),
    scaled("one point", "yarn", factor=8.0, original_max_len=5, theta=1e4),
    scaled("factor given", "yarn", factor=4.0, original_max_len=64, attention_factor=1.5),
    scaled("two scales", "yarn", factor=4.0, original_max_len=64, mscale=3.0, mscale_all_dim=0.7),
    scaled("no scales", "yarn", factor=4.0, original_max_len=64, mscale=None, mscale_all_dim=None),
    scaled("all bands", "llama3", factor=8.0, original_max_len=24, **BANDS),
    scaled("part", "llama3", factor=8.0, original_max_len=40, dim=6, style="interleaved", **BANDS),
    scaled("short", "longrope", **LISTS, original_max_len=7, factor=4.0),
    scaled("long", "longrope", **LISTS, original_max_len=5, factor=4.0),
    scaled("factor given", "longrope", **LISTS, original_max_len=2, factor=1.0, attention_factor=0.8, mask="full"),
    scaled("at passed positions", "longrope", **LISTS, original_max_len=9, factor=2.0, passed=("position_ids",)),
    heads("scaling off", rotary={"scaling": None}, n_heads=2, head_dim=8),
]
