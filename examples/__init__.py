"""Models trained on real data, from public packages to figures; each folder has its own page."""
