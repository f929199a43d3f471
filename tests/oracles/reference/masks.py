"""Which keys of its own sequence a query sees, pair by pair."""


def seer(mask):
    """A function of axis, row, query slot and key slot, the key being no padding."""
    kind, window = mask.kind, mask.get("window", None)
    chunk = mask.get("chunk", None) if kind != "prefix" else None
    first = mask.get("keep_first", 0) if kind != "prefix" else 0
    assert kind in ("full", "causal", "prefix")

    def sees(axis, *, row, query, key):
        q, k = int(axis.rank[row, query]), int(axis.rank[row, key])
        if kind == "prefix" and max(q, k) < axis.prefix[row]:
            return True
        if kind != "full" and key > query:
            return False
        if k < first:
            return True
        far = window is not None and (abs(q - k) > window if kind == "full" else q - k >= window)
        return not far and (chunk is None or q // chunk == k // chunk)

    return sees
