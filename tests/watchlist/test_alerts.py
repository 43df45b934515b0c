"""Which targets are crossed, judged with frames alone; sending is tested in operations."""

from __future__ import annotations

import pandas as pd
from builders import crossings
from hypothesis import given
from hypothesis import strategies as st

from pokewatch.watchlist.alerts import judge
from pokewatch.watchlist.entries import Entry

ENTRY = Entry(card="7", target_above=12, target_below=8)


@given(st.lists(st.tuples(st.sampled_from([5.0, 8.0, 9.0, 12.0, 15.0]), st.booleans())))
def test_as_many_crossings_as_a_person_would_count(path: list[tuple[float, bool]]) -> None:
    crossed: set[str] = set()
    found = []
    for price, is_fresh in path:
        held = pd.DataFrame([ENTRY.model_dump()] * 2).assign(  # two lots of one card
            card_id="7:Holofoil", price=price, age=0 if is_fresh else 4
        )
        new, crossed = judge(held, crossed, pd.Timestamp("2025-01-01"), stale_days=3)
        found += [(one.side, one.target) for one in new]
    assert found.count(("above", 12.0)) == crossings(path, "above", 12)
    assert found.count(("below", 8.0)) == crossings(path, "below", 8)
    assert len(found) == crossings(path, "above", 12) + crossings(path, "below", 8)
