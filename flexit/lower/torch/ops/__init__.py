"""One file per primitive op: ``lower(node, code)`` prints its call; ``module(node)`` is the stock module it needs."""
