"""Results as a table on screen."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from multimodal_vit.analysis.study_tests import OWN
from multimodal_vit.evaluate import main_metric
from multimodal_vit.profiling import Profile
from multimodal_vit.suites import all_checks

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
    """The test accuracies of runs that differ in their seed, their mean and standard deviation.

    Args:
      title: above the table.
      results: of each run, as `results.json` holds them.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("seed")
    for heading in ("accuracy, test", "best step", "steps", "training pairs"):
        table.add_column(heading, justify="right")
    accuracies = [main_metric(r["test"]) for r in results]
    for r, accuracy in zip(results, accuracies, strict=True):
        cells = f"{accuracy:.2%}", f"{r['best_step']}", f"{r['steps']}", f"{r['samples_seen']:,}"
        table.add_row(str(r["seed"]), *cells)
    if len(results) > 1:
        spread = 100 * statistics.stdev(accuracies)
        table.add_section()
        table.add_row("mean", f"{100 * statistics.fmean(accuracies):.2f} ± {spread:.2f} %")
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


def probe_tables(title: str, found: Mapping[str, Any]) -> Iterator[Table]:
    """Tables of evaluation suites, of references and of checks, as far as they were asked.

    Args:
      title: above the first.
      found: as `multimodal_vit.probes.answers.probe` returns them.
    """
    foils = {name: m for name, m in found["suites"].items() if "rejection_rate" in m}
    others = {name: m for name, m in found["suites"].items() if name not in foils}
    if foils:
        table = Table(title=f"{title}: foils told from true texts", title_justify="left")
        table.add_column("suite", no_wrap=True)
        headings = ("AUROC", "95% interval", "rejected more", "95% interval", "foils", "true")
        for heading in (*headings, "same grid", "95% interval"):
            table.add_column(heading, justify="right", no_wrap=True)
        for name, metrics in foils.items():
            pairs = metrics.get("paired", {})
            table.add_row(
                name,
                *_told_apart(metrics),
                _share(metrics["rejection_rate"]),
                _share(metrics.get("true_rejection_rate")),
                _share(pairs.get("text_score")),
                _between(pairs["intervals"]["text_score"]) if "text_score" in pairs else "",
            )
        table.caption = (
            "rejected more: foils rejected less true texts rejected (by chance 0); same grid: how "
            "often the true text of a grid gets the higher logit (by chance 50%)"
        )
        table.caption_justify = "left"
        yield table
    if others:
        heading = "Other suites" if foils else title
        table = Table(title=heading, title_justify="left")
        table.add_column("suite", no_wrap=True)
        for heading in ("right", "95% interval", "on true", "on false", "AUROC", "ECE"):
            table.add_column(heading, justify="right", no_wrap=True)
        for name, metrics in others.items():
            main = "accuracy" if "accuracy" in metrics else "match_accuracy"
            table.add_row(
                name,
                _share(metrics[main]),
                _between(metrics["intervals"][main]),
                *(_share(metrics.get(f"match_accuracy_{kind}")) for kind in ("true", "false")),
                *(f"{metrics[key]:.3f}" if key in metrics else "" for key in ("auroc", "ece")),
            )
        yield table
    references = {name: found["references"].get(name) for name in REFERRED}
    if any(references.values()):
        asked = {name: shares for name, shares in references.items() if shares}
        table = Table(title="Readers without a mistake, by what they use", title_justify="left")
        table.add_column("reader", no_wrap=True)
        for name in (*asked, "exactly"):
            table.add_column(name, justify="right", no_wrap=True)
        for reader in next(iter(asked.values())):
            exact = found.get("expected", {}).get(reader)
            shares = [f"{values[reader]:.1%}" for values in asked.values()]
            table.add_row(reader, *shares, "" if exact is None else f"{exact:.2%}")
        yield table
    if found.get("checks"):
        table = Table(title="Checks", title_justify="left")
        for heading in ("check", "kind"):
            table.add_column(heading, no_wrap=True)
        for heading in ("AUROC", "95% interval", "rejected more", "95% interval", "fails"):
            table.add_column(heading, justify="right", no_wrap=True)
        for name, check in found["checks"].items():
            known = all_checks()
            kind = known[name].kind if name in known else "consistency"
            table.add_row(name, kind, *_told_apart(check), _share(check.get("failure_rate")))
        yield table


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


def _told_apart(metrics: Mapping[str, Any]) -> list[str]:
    """AUROC and how much more false texts are rejected than true ones, each with its interval."""
    if "auroc" not in metrics or "auroc" not in metrics["intervals"]:
        return [""] * 4
    low, high = metrics["intervals"]["auroc"]
    ends = [f"{100 * end:+.1f}" for end in metrics["intervals"]["rejection_difference"]]
    more = [f"{100 * metrics['rejection_difference']:+.1f}", " – ".join(ends)]
    return [f"{metrics['auroc']:.3f}", f"{low:.3f} – {high:.3f}", *more]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _between(interval: Sequence[float]) -> str:
    return f"{interval[0]:.1%} – {interval[1]:.1%}"


def verdict_lines(verdict: Mapping[str, Any]) -> Iterator[str]:
    """What `probes.verdict` says, a line each: what it can, what it uses, bias, certainty, cost."""
    for name in ("can", "uses", "bias", "calibration", "cost"):
        if verdict[name]:
            yield verdict[name]
    if verdict["scale"]:
        yield scale_line(verdict["scale"])


def scale_line(scale: Mapping[str, Any], width: int = 48) -> str:
    """The scale of what a model uses in one line of text, the model's place an "O"."""
    marks, place = scale["marks"], scale["place"]
    steps = len(marks) - 1
    cells = ["─"] * (width + 1)
    for i in range(steps + 1):
        cells[round(i * width / steps)] = "┼"
    cells[round(place * width / steps)] = "O"
    return f"{marks[0]} {''.join(cells)} {marks[-1]}  ({place:.2f} of {steps}: {', '.join(marks)})"


# The suites that tell the references apart; "exactly" is of the first.
REFERRED = ("standard", "single_foil", "count_foil", "order_foil")
