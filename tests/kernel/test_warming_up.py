"""The first cell of a lesson over a live kernel: it returns at once, and what is needed comes while one reads."""

from __future__ import annotations

import pytest

from tests.kernel.conftest import Wire

pytestmark = pytest.mark.timeout(180)

FIRST_CELL = "from labkit import learn\nlearn.warm_up('labkit.insight.metrics', 'no_such_module')"
HEAVY = (
    "{'torch', 'labkit.data.load', 'labkit.models.backbone', 'labkit.tuning.run', 'labkit.show.figures', "
    "'labkit.insight.metrics'}"
)


def test_the_first_cell_returns_at_once_and_its_line_goes_away_when_all_is_loaded(
    wire: Wire,
) -> None:
    wire.run("import sys")
    wire.run(f"{FIRST_CELL}\nwhile_it_ran = {HEAVY} & set(sys.modules)")
    assert wire.value("while_it_ran") == set()
    shown = wire.listen(lambda message: message["msg_type"] == "display_data")["content"]
    assert "While you read" in shown["data"]["text/plain"]
    gone = wire.listen(lambda message: message["msg_type"] == "update_display_data", seconds=150)[
        "content"
    ]
    assert gone["transient"]["display_id"] == shown["transient"]["display_id"]
    assert gone["data"] == {"text/plain": ""}
    assert wire.value(f"{HEAVY} <= set(sys.modules)")


def test_a_loop_written_by_hand_after_the_first_cell_waits_for_no_compiler(wire: Wire) -> None:
    wire.run(FIRST_CELL)
    wire.run(
        "import sys, torch, labkit\n"
        "model = labkit.load_backbone('resnet10-glyphs').build(10, seed=0)\n"
        "optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)\n"
        "model(torch.zeros(2, 3, 32, 32)).sum().backward()\n"
        "optimizer.step()"
    )
    assert not wire.value("'torch._dynamo' in sys.modules")


def test_what_needs_a_module_earlier_waits_for_it(wire: Wire) -> None:
    wire.run(FIRST_CELL)
    wire.run(
        "import labkit\n"
        "data = labkit.load_data('digits').subset(per_class=3)\n"
        "run = labkit.Run(labkit.load_backbone('resnet10-glyphs'), data, labkit.full(epochs=1))\n"
        "from labkit.show import figures\n"
        "shown = figures.plot_history(run.fit())"
    )
    assert wire.value("run.status") == "ended"
