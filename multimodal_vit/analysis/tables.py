"""Results as a table on screen."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

_LABELS = {
    "match_accuracy": "true/false accuracy",
    "match_accuracy_true": "  on true pairs",
    "match_accuracy_false": "  on false pairs",
    "match_accuracy_by_replaced": "    {} replaced",
    "class_accuracy": "per-class accuracy",
    "class_exact_match": "  all classes of a pair right",
}


def results_table(title: str, metrics: dict[str, Any]) -> Table:
    """A table of accuracies with their 95 % intervals and what chance gives.

    Args:
      title: above the table.
      metrics: as `multimodal_vit.evaluate.metrics` returns them.
    """
    table = Table(title=title, title_justify="left")
    table.add_column(f"{metrics['num_pairs']:,} pairs")
    for heading in ("value", "95% interval", "chance"):
        table.add_column(heading, justify="right")
    for name, label in _LABELS.items():
        if name not in metrics:
            continue
        values, intervals = metrics[name], metrics["intervals"][name]
        if not isinstance(values, dict):
            values, intervals = {"": values}, {"": intervals}
        for key, value in values.items():
            low, high = intervals[key]
            chance = metrics["chance"].get(name)
            table.add_row(
                label.format(f"{key} label{'' if key == '1' else 's'}"),
                f"{value:.2%}",
                f"{low:.2%} – {high:.2%}",
                "" if chance is None else f"{chance:.1%}",
            )
    low, high = metrics["intervals"]["loss"]
    table.add_row("loss", f"{metrics['loss']:.4f}", f"{low:.4f} – {high:.4f}", "")
    return table


def suites_table(title: str, found: Mapping[str, dict[str, Any]]) -> Table:
    """A table of evaluation suites: the share of right answers, on true and on false pairs.

    Args:
      title: above the table.
      found: their metrics, as `multimodal_vit.evaluate.suite_metrics` returns them.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("suite", no_wrap=True)
    for heading in ("pairs", "right", "on true", "on false", "AUROC", "ECE"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, metrics in found.items():
        shares = [
            "" if metrics.get(key) is None else f"{metrics[key]:.1%}"
            for key in ("match_accuracy", "match_accuracy_true", "match_accuracy_false")
        ]
        auroc = f"{metrics['auroc']:.3f}" if "auroc" in metrics else ""
        table.add_row(name, f"{metrics['num_pairs']:,}", *shares, auroc, f"{metrics['ece']:.3f}")
    return table
