"""How a program runs: one folder per target, which never import each other."""
