"""Results as a table on screen."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from multimodal_vit.analysis.study_tests import OWN
from multimodal_vit.evaluate import has_verdict, main_metric
from multimodal_vit.profiling import Profile

MOST_SUITE_TESTS = 12  # on screen; the report has all
_LABELS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
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
        values, intervals = metrics[name], metrics["intervals"].get(name)
        if intervals is None:
            table.add_row(label, f"{values:.2%}", "", "")
            continue
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


def readouts_table(found: Mapping[str, Any]) -> Table:
    """What read-outs gave; docs/objectives.md says what each number is.

    Args:
      found: as `readouts.read_out` returns it.
    """
    table = Table(title="Read-outs (docs/objectives.md)", title_justify="left")
    table.add_column("read-out", no_wrap=True)
    table.add_column("")
    table.add_column("value", justify="right")

    def add(name: str, values: Mapping[str, Any], prefix: str = "") -> None:
        for key, value in values.items():
            if isinstance(value, Mapping):
                add(name, value, f"{prefix}{key}, ")
            else:
                shown = f"{value:.4g}" if isinstance(value, float) else str(value)
                table.add_row(name, f"{prefix}{key}", shown)

    for name, values in found.items():
        add(name, values)
    return table


def seeds_table(title: str, results: Sequence[Mapping[str, Any]]) -> Table:
    """What runs that differ in their seed reach on the test split, its mean and deviation.

    The accuracy, or the loss of what has no verdict.

    Args:
      title: above the table.
      results: of each run, as `results.json` holds them.
    """
    judged = all(map(has_verdict, results))
    table = Table(title=title, title_justify="left")
    table.add_column("seed")
    for heading in (
        "accuracy, test" if judged else "loss, test", "best step", "steps", "training pairs",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    found = [main_metric(r["test"]) if judged else r["test"]["loss"] for r in results]
    for r, value in zip(results, found, strict=True):
        shown = f"{value:.2%}" if judged else f"{value:.4g}"
        table.add_row(
            str(r["seed"]), shown, f"{r['best_step']}", f"{r['steps']}", f"{r['samples_seen']:,}"
        )
    if len(results) > 1:
        mean, spread = statistics.fmean(found), statistics.stdev(found)
        shown = (
            f"{100 * mean:.2f} ± {100 * spread:.2f} %" if judged else f"{mean:.4g} ± {spread:.2g}"
        )
        table.add_section()
        table.add_row("mean", shown)
    return table


def _megabytes(count: int | None) -> str:
    return "not known" if count is None else f"{count / 1e6:,.1f} MB"


def profile_table(found: Profile) -> Table:
    """What `profiling.profile` measured."""
    table = Table(title=f"{found.name}, {found.devices}", title_justify="left")
    table.add_column("of a training step")
    table.add_column("", justify="right")
    table.add_column("how")
    seeds = f"{found.num_seeds} seeds of " if found.num_seeds > 1 else ""
    batch = f"median; {seeds}{found.batch_size} examples"
    peak = f"{found.peak_flop_per_second / 1e12:,.2f} TFLOP/s ({found.peak_source})"
    ceiling = f"{found.ceiling_flop_per_second / 1e12:,.2f} TFLOP/s (measured: large products)"
    rows = [
        ("time", f"{1e3 * found.step_seconds:,.2f} ms", batch),
        ("examples/s", f"{found.examples_per_second:,.0f}", ""),
        ("sampler's share", f"{found.sampler_share:.1%}", "drawn alone, in the same loop"),
        ("compilation", f"{found.compile_seconds:.1f} s", "without cache"),
        ("MFLOP/example, XLA", f"{found.flop_per_example / 1e6:,.2f}", "with sampler, optimizer"),
        ("  model alone", f"{found.model_flop_per_example / 1e6:,.2f}", "gradient of the loss"),
        (
            "  by formula",
            f"{found.formula_flop_per_example / 1e6:,.2f}",
            "3 × the forward pass's products and convolutions",
        ),
        ("share of the peak", f"{found.share_of_peak:.1%}", f"by formula, of {peak}"),
    ]
    if found.ceiling_flop_per_second < found.peak_flop_per_second:
        rows.append(("  of the ceiling", f"{found.share_of_ceiling:.1%}", f"of {ceiling}"))
    rows += [
        ("program's memory", _megabytes(found.program_bytes), "XLA's plan, one device"),
        ("peak memory", _megabytes(found.peak_bytes), "device; on a CPU the process"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def study_tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """The differences between a study's conditions and their tests.

    Args:
      found: as `multimodal_vit.analysis.report.write_report` returns it.
    """
    own = [test for test in found["tests"] if test["source"] == OWN]
    if own:
        table = Table(title="Accuracy: differences in points", title_justify="left")
        table.add_column("", no_wrap=True)
        for heading in ("difference", "95% interval", "Welch", "p, Holm", "would be found"):
            table.add_column(heading, justify="right", no_wrap=True)
        for test in own:
            low, high = test["interval"]
            table.add_row(
                f"{test['first']} - {test['second']}",
                f"{100 * test['difference']:+.2f}",
                f"{100 * low:+.2f} – {100 * high:+.2f}",
                f"t({test['welch']['df']:.1f}) = {test['welch']['t']:.2f}",
                f"{test['holm']['welch']:.2g}",
                f"{100 * test['detectable']:.2f}",
            )
        yield table
    if found["suite_tests"]:
        shown = found["suite_tests"][:MOST_SUITE_TESTS]
        more = f", the surest {len(shown)} of {len(found['suite_tests'])}"
        table = Table(
            title="Suites and checks: differences of what leads"
            + (more if len(shown) < len(found["suite_tests"]) else ""),
            title_justify="left",
        )
        for heading in ("suite", ""):
            table.add_column(heading, no_wrap=True)
        for heading in ("difference", "95% interval", "p, Holm"):
            table.add_column(heading, justify="right", no_wrap=True)
        for test in shown:
            low, high = test["interval"]
            table.add_row(
                test["suite"],
                f"{test['first']} - {test['second']}",
                f"{test['difference']:+.3f}",
                f"{low:+.3f} – {high:+.3f}",
                f"{test['holm']:.2g}",
            )
        yield table
