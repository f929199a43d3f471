"""The grid of a proof."""

from flexit.ir.compile import compile_spec
from flexit.ir.cost import LARGEST_CASE
from flexit.ir.io.load import load_spec
from flexit.runtime.proof.grid import cases


def test_the_cost_of_an_export_is_that_of_the_largest_case():
    found = list(cases(compile_spec(load_spec("tiny-llama"))))
    assert (max(case.batch for case in found), max(case.seq + case.past for case in found)) == LARGEST_CASE
