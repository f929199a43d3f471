"""A mixer with its own state, in one file of another package, gets all that a built-in one gets, and goes as far."""

import json
import sys
import textwrap

import pytest

from flexit.cli.app import run
from flexit.ir import registry
from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import check_text
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.generation.generate import generate
from flexit.runtime.sessions.torch_session import TorchSession
from tests.conformance import checks
from tests.conformance.placements import placements

MIXER = '''
"""Attention over a low-rank latent, which is all that is cached."""

from flexit.ir.block import Mixer
from flexit.ir.language.kinds import PositiveInt
from flexit.ir.ops.mask import Piece


class Latent(Mixer, kind="acme:latent"):
    """Keys and values from a cached latent of width rank."""

    examples = ({"kind": "acme:latent", "n_heads": 2, "rank": 6}, {"kind": "acme:latent", "n_heads": 4, "rank": 3})

    n_heads: PositiveInt
    """Heads."""
    rank: PositiveInt
    """Width of the latent."""

    def expand(self, e, x):
        head = x.width // self.n_heads
        split = lambda h: e.permute(e.reshape(h, "=0", "=1", self.n_heads, head), 0, 2, 1, 3)
        latent = e.append(e.linear(x.x, self.rank, "down"), x.axis, "latent", dim=1)
        q, k, v = e.linear(x.x, x.width, "q"), e.linear(latent, x.width, "k"), e.linear(latent, x.width, "v")
        mask = e.mask(x.axis, [Piece("causal")], causal=True)
        y = e.attention(split(q), split(k), split(v), mask=mask, scale=head**-0.5, causal=True)
        y = e.reshape(e.permute(y, 0, 2, 1, 3), "=0", "=1", "*")
        return x.of(e.linear(y, x.width, "out", role="residual_projection"))
'''


BLOCKS = {"embed": {"kind": "embedding", "vocab_size": 31, "d_model": 16}}
EMBEDDED = {"kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre", "feed_forward": None}


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """An installed distribution with one kind."""
    site = tmp_path / "site"
    (site / "acme_mixer-1.0.dist-info").mkdir(parents=True)
    (site / "acme_mixer.py").write_text(textwrap.dedent(MIXER))
    (site / "acme_mixer-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-mixer\nVersion: 1.0\n"
    )
    (site / "acme_mixer-1.0.dist-info" / "entry_points.txt").write_text(
        "[flexit.blocks]\nacme:latent = acme_mixer:Latent\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield "acme:latent"
    registry.forget("Block", "acme:latent")
    sys.modules.pop("acme_mixer", None)


@pytest.mark.ort
def test_gets_what_every_kind_gets(acme):
    """Its one file brings the basic tests too: they are those of all kinds, with nothing added for this one."""
    checks.check_documented(acme)
    checks.check_placed(acme)
    found = placements(acme)
    assert {"x=embed", "attention", "body", "layer"} <= {placed.form for placed in found}
    for placed in found:
        for check in (*checks.CHECKS, *checks.ORT_CHECKS):
            check(placed)
    assert any(placed.program.states[0].path.endswith(".latent") for placed in found if placed.program.states)


def test_is_documented_on_the_command_line(acme, capsys):
    assert run(["kinds", acme]) == 0
    page = capsys.readouterr().out
    assert "Keys and values from a cached latent of width rank." in page
    assert "rank: an integer >= 1; required" in page
    assert "Width of the latent." in page


def test_its_mistakes_are_told_like_any(acme):
    data = {**EMBEDDED, "attention": {"kind": acme, "n_heads": 2, "rank": 0, "rnak": 6}}
    checked = check_text(json.dumps({"flexit": 1, "name": "acme", "blocks": BLOCKS | {"layer": data}}))
    assert [(problem.code, problem.path) for problem in checked.problems] == [
        ("FX0206", "blocks.layer.attention.rank"),
        ("FX0201", "blocks.layer.attention.rnak"),
    ]
    assert "write rank" in str(checked.problems[1])


@pytest.mark.ort
def test_goes_the_whole_way(acme, stressed, tmp_path):
    layer = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre",
        "attention": {"kind": "acme:latent", "n_heads": 4, "rank": 8}, "feed_forward": {"kind": "mlp", "d_ff": 48},
    }  # fmt: skip
    data = {
        "flexit": 1,
        "name": "acme",
        "blocks": {
            "embed": {"kind": "embedding", "vocab_size": 97, "d_model": 32, "position": "sinusoidal"},
            "decoder": {"kind": "stack", "n_layers": 2, "layer": layer, "final_norm": True},
            "head": {"kind": "lm_head", "tied_to": "embed"},
        },
    }
    module = stressed(Spec.model_validate(Node.of(data).plain()))
    states = [(state.path, str(state.type)) for state in module.program.states]
    assert states[0] == ("decoder.layers.0.attention.latent", "f32[batch, total - seq, 8]")
    assert cost(module.spec, batch=1, seq=4).parameters == sum(p.numel() for p in module.parameters())
    bundle = export(module, tmp_path / "bundle")
    assert bundle.manifest["evidence"]["error"] < 1e-4
    names = [state["input"] for state in bundle.manifest["models"]["model.onnx"]["states"]]
    assert names[0] == "past_states.decoder.layers.0.attention.latent"
    texts = [
        generate(session, [[1, 2, 3], [4]], max_new_tokens=6)
        for session in (TorchSession(module), open_bundle(tmp_path / "bundle"))
    ]
    assert texts[0] == texts[1]
