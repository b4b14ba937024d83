from __future__ import annotations

from collections.abc import Callable
from typing import Any

from everloop.data.stored_panel import panel_digest


def test_every_part_of_a_panel_is_in_its_digest(make_panel: Callable[..., Any]) -> None:
    panel = make_panel()
    before = panel_digest(panel)
    assert panel_digest(make_panel()) == before
    for part in (panel.y, panel.known["price"], panel.static["dept"], panel.future.columns["price"]):
        was = part.flat[1]
        part.flat[1] += 1
        assert panel_digest(panel) != before
        part.flat[1] = was
    assert panel_digest(panel) == before
