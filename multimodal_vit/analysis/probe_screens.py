"""What a model uses, on screen: tables of suites, references and checks; the verdict in lines."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from multimodal_vit.suites import all_checks

# The suites that tell the references apart; their exact accuracies are on the first.
REFERRED = ("standard", "single_foil", "count_foil", "order_foil")


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
    if (table := _beside_readers(found)) is not None:
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


def _beside_readers(found: Mapping[str, Any]) -> Table | None:
    """The model and the references in one table: a row each, a column for each telling suite.

    Of foils AUROC, else the share of right answers; results of older programs know of the
    references only how often they reject foils.
    """
    aurocs, shares = found.get("reference_auroc", {}), found["references"]
    asked = [name for name in REFERRED if shares.get(name) and name in found["suites"]]
    if not asked:
        return None
    table = Table(title="Beside readers that make no mistake but use only a part")
    table.title_justify = "left"
    table.add_column("", no_wrap=True)
    own = []
    for name in asked:
        suite = found["suites"][name]
        if "rejection_rate" not in suite:
            heading, value = "right", _share(suite["match_accuracy"])
        elif name in aurocs:
            heading, value = "AUROC", f"{suite['auroc']:.3f}"
        else:
            heading, value = "rejected", _share(suite["rejection_rate"])
        table.add_column(f"{name}, {heading}", justify="right", no_wrap=True)
        own.append((name, heading, value))
    table.add_column("published task, exactly", justify="right", no_wrap=True)
    table.add_row("this model", *(value for *_, value in own), "")
    table.add_section()
    for reader in shares[asked[0]]:
        cells = []
        for name, heading, _ in own:
            value = (aurocs if heading == "AUROC" else shares)[name].get(reader)
            number = f"{value:.3f}" if heading == "AUROC" and value is not None else _share(value)
            cells.append(number)
        exact = found.get("expected", {}).get(reader)
        table.add_row(reader, *cells, "" if exact is None else f"{exact:.2%}")
    return table


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
