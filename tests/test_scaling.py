"""The formula of docs/scaling.md, and that the page shows what it gives."""

import pytest
from conftest import ROOT, load_module

scaling = load_module(ROOT / "benchmarks" / "scaling.py")


def test_an_all_reduce_uses_the_links_within_a_node_and_the_network_between(monkeypatch):
    monkeypatch.setattr(scaling, "LATENCY", 0.0)
    chip = scaling.Chip(flops=1.0, memory=1.0, link=100.0, node=8, network=10.0)
    assert scaling.all_reduce(800.0, chip, 8) == pytest.approx(2 * 7 / 8 * 8)
    assert scaling.all_reduce(800.0, chip, 16) == pytest.approx(2 * 7 / 8 * 8 + 2 * 1 / 2 * 10)


def test_what_the_backward_pass_hides_costs_nothing():
    assert scaling.efficiency(3.0, 2.0) == (0.6, 1.0)
    assert scaling.efficiency(3.0, 3.0) == (0.5, 0.75)


def test_a_step_takes_what_arithmetic_and_memory_take():
    chip = scaling.Chip(flops=100.0, memory=10.0, link=1.0, node=1, network=1.0)
    model = scaling.Model(parameters=10, flop=50.0, activation_bytes=5.0)
    assert scaling.roofline(model, chip, batch=4) == (2.0, 32.0)


def test_the_page_shows_what_the_program_gives(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["scaling.py"])
    scaling.main()
    page = (ROOT / "docs" / "scaling.md").read_text()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) > 30
    assert [row for row in rows if row not in page] == []
