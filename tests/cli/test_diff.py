"""``flexit diff`` and the pictures of ``flexit show``."""

from __future__ import annotations

import json

from flexit.cli.app import run


def test_diff_says_what_differs_and_exits_with_1(capsys):
    assert run(["diff", "gpt2", "gpt2", "--set", "blocks.decoder.n_layers=24"]) == 1
    out = capsys.readouterr().out
    assert "blocks.decoder.n_layers" in out
    assert "decoder.layers.12-23.attention.q_proj.weight" in out
    assert "(1.68x)" in out


def test_diff_of_equals(capsys):
    assert run(["diff", "gpt2", "gpt2"]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_diff_as_data(capsys):
    assert run(["diff", "tiny-gpt2", "tiny-llama", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert {"fields", "shapes", "costs", "same_program"} == set(data)
    assert data["fields"][0].keys() == {"path", "before", "after"}


def test_pictures(capsys):
    assert run(["show", "bart-base", "--mermaid"]) == 0
    assert capsys.readouterr().out.startswith("flowchart TD\n")
    assert run(["show", "bart-base", "--dot"]) == 0
    assert capsys.readouterr().out.startswith("digraph model {\n")
    assert run(["show", "bart-base", "--dot", "--program"]) == 2
    assert "FX1110" in capsys.readouterr().err
