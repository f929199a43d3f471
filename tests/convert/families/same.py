"""Tensors of two folders, compared byte by byte."""

from safetensors import safe_open


def tensors_in(folder):
    """Every tensor of a folder's safetensors files by name."""
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "np") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
    return found


def same_tensors(one, other):
    """Whether two folders hold the same tensors under the same names."""
    first, second = tensors_in(one), tensors_in(other)
    assert first.keys() == second.keys(), first.keys() ^ second.keys()
    return [name for name in first if not same(first[name], second[name])] == []


def same(one, other):
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
