import os
import subprocess
import sys
import time

import pytest

from flexit.errors import FlexitError, SpecError
from flexit.ir.io.load import check, check_text, load_spec, parse_spec, presets
from flexit.ir.io.migrate import STEPS
from flexit.ir.language.layers import Varied

TINY = """
flexit: 1
name: tiny
blocks:
  embed: {kind: embedding, vocab_size: 31, d_model: 16}
  body:
    kind: stack
    n_layers: 4
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 4, rotary: {}, mask: {kind: causal, window: 8}}
      feed_forward: {kind: mlp, d_ff: 32}
    variants: {far: {attention: {mask: causal}}}
    pattern: [default, far]
    layers: {-1: default_}
    final_norm: true
  head: {kind: lm_head, tied_to: embed}
""".replace("    layers: {-1: default_}\n", "")


def codes(text, **more):
    return [problem.code for problem in check_text(text, **more).problems]


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid_without_warnings(name):
    checked = check(name)
    assert checked.valid and checked.problems == ()


def test_files_and_presets(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    assert load_spec(path) == load_spec(str(path)) == parse_spec(TINY)
    with pytest.raises(SpecError) as caught:
        load_spec("gpt3")
    assert caught.value.code == "FX0100" and "write gpt2" in str(caught.value)
    with pytest.raises(SpecError):
        load_spec(tmp_path)
    with pytest.raises(SpecError) as caught:
        load_spec(path, max_bytes=10)
    assert caught.value.code == "FX0105"


def test_errors_are_user_errors():
    with pytest.raises(ValueError, match="FX0107") as caught:
        parse_spec("")
    assert isinstance(caught.value, FlexitError) and caught.value.problems[0].file == "<text>"


def test_all_problems_of_a_phase_in_order_of_place():
    text = (
        TINY.replace("d_ff: 32", "d_ff: 0, bia: true")
        .replace("vocab_size: 31", "vocab_size: x")
        .replace("name: tiny", "name: A b")
    )
    assert codes(text) == ["FX0209", "FX0205", "FX0206", "FX0201"]


def test_overrides_merge_as_variants_do():
    spec = parse_spec(
        TINY, sets=["blocks.body.layer.attention.n_heads=8", "blocks.body.layer.attention.mask.window=3", "name=other"]
    )
    block = spec.blocks["body"]
    assert isinstance(block, Varied) and spec.name == "other"
    attention = block.plan.layer(0).attention
    assert (attention.n_heads, attention.mask.window, attention.rotary is not None) == (8, 3, True)
    assert block.plan.layer(1).attention.n_heads == 8


def test_an_override_may_leave_variants_idle():
    text = TINY.replace("pattern: [default, far]", "layers: {3: far}")
    assert codes(text) == [] == codes(text, sets=["blocks.body.n_layers=1"])
    assert codes(text.replace("n_layers: 4", "n_layers: 1")) == ["FX0604"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("blocks.bdy.n_layers=2", "FX0201", "write body"),
        ("blocks.body.n_layer=2", "FX0201", "write n_layers"),
        ("blocks.body.n_layers=x", "FX0205", "--set blocks.body.n_layers"),
        ("n_layers", "FX0102", "BLOCK"),
        ("blocks.body.n_layers=[", "FX0102", "end of the document"),
        ("blocks.body.n_layers.x=1", "FX0607", "4 in what it is merged into"),
        ("blocks.body.pattern.0=far", "FX0607", "merged"),
        ("a." * 1000 + "b=1", "FX0105", "at most 64 keys; found 1001"),
        ("blocks.body.layer" + ".a" * 62 + "=1", "FX0105", "at most 64 keys; found 65"),
        ("init" + ".a" * 900 + "=1", "FX0105", "at most 64 keys; found 901"),
        ("blocks.body.layer" + ".a" * 60 + "={b: {c: 1}}", "FX0105", "at most 64 levels; found level 65"),
        ("blocks.body.layer" + ".a" * 60 + "={b: 1}", "FX0201", "unknown field"),
        ("blocks.body.pattern=[default*300000000, default]", "FX0109", "at most 100,000 in the pattern"),
        ("blocks.body.pattern=[default*99999, default, default]", "FX0109", "at most 100,000 in the pattern"),
        (f"blocks.body.pattern=[default*{'9' * 5000}]", "FX0109", "at most 100,000 in the pattern"),
        (f"outputs={{logits: 'body.layers[{'9' * 5000}]'}}", "FX0301", "not an edge"),
    ],
)
def test_bad_overrides(text, code, words):
    with pytest.raises(SpecError) as caught:
        parse_spec(TINY, sets=[text])
    assert caught.value.code == code
    assert words.replace("BLOCK", "blocks.NAME") in str(caught.value)
    assert str(caught.value).startswith("--set")
    assert max(map(len, str(caught.value).splitlines())) < 400


@pytest.mark.parametrize(("sign", "hits"), [("", False), ("-", False), ("0:", True), (":", True), ("-1:-", False)])
def test_indices_of_thousands_of_digits(sign, hits):
    key = f"      ? '{sign}{'9' * 5000}'\n      : far\n"
    text = TINY.replace("    final_norm: true\n", "    final_norm: true\n    layers:\n" + key)
    assert text != TINY
    assert codes(text) == ([] if hits else ["FX0604"])


def test_a_pattern_as_long_as_a_stack_may_be_is_answered_in_time():
    start = time.process_time()
    assert codes(TINY, sets=["blocks.body.pattern=[default*99999, default]"]) == []
    assert time.process_time() - start < 2


def test_older_versions_are_brought_up_to_date(monkeypatch):
    from dataclasses import replace

    def step(root):
        entries = {key.replace("layers_of", "blocks"): node for key, node in root.entries.items()}
        return replace(root, value={**entries, "flexit": replace(entries["flexit"], value=1)})

    monkeypatch.setitem(STEPS, 0, step)
    old = TINY.replace("flexit: 1", "flexit: 0").replace("blocks:", "layers_of:")
    assert parse_spec(old) == parse_spec(TINY)
    assert codes(TINY.replace("flexit: 1", "flexit: 7")) == ["FX0108"]
    assert codes(TINY.replace("flexit: 1", "flexit: true")) == ["FX0108"]


def test_shared_fields_are_written_out_before_validation():
    more = "  more: {kind: stack, shares: body, layer: {attention: {mask: full}}, from: embed}\n  head:"
    spec = parse_spec(TINY.replace("  head:", more).replace("tied_to: embed", "tied_to: embed, from: sum").replace(
        "  head:", "  sum: {kind: add, from: [body, more]}\n  head:"))  # fmt: skip
    shared = spec.blocks["more"]
    assert isinstance(shared, Varied)
    assert shared.plan.layer(0).attention.mask.kind == "full" and shared.plan.layer(0).attention.n_heads == 4
    assert shared.wired == "embed"


def test_what_an_override_makes_inert_is_no_error_but_what_it_writes_must_act():
    text = TINY.replace("rotary: {},", "rotary: {}, qk: {norm: rms_norm, at: after_rotary},")
    assert codes(text) == []
    assert codes(text.replace("{mask: causal}", "{mask: causal, rotary: null}")) == []
    assert codes(
        TINY.replace("{mask: causal}", "{mask: causal, rotary: null, qk: {norm: rms_norm, at: after_rotary}}")
    ) == ["FX0501"]


@pytest.mark.slow
def test_large_stacks_are_checked_in_time():
    start = time.process_time()
    assert (
        check_text(TINY.replace("n_layers: 4", "n_layers: 100000").replace("[default, far]", "[default*7, far]")).spec
        is not None
    )
    assert time.process_time() - start < 60


def test_loading_is_light():
    code = (
        "import time; start = time.process_time()\n"
        "from flexit.ir.io.load import load_spec; load_spec('gpt2')\n"
        "import sys; heavy = {'torch', 'onnx', 'numpy', 'onnxruntime', 'networkx'} & set(sys.modules)\n"
        "print(time.process_time() - start, sorted(heavy))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    seconds, heavy = min(float(run.stdout.split()[0]) for run in runs), runs[0].stdout.split(maxsplit=1)[1].strip()
    assert heavy == "[]" and seconds < 1.0


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, told in (("fifo", "no regular file"), ("dangling", "leads to nothing"), ("loop", "leads to nothing")):
        (problem,) = check(tmp_path / name).problems
        assert problem.code == "FX0100"
        assert told in problem.found
