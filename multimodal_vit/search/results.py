"""What a search has found, as plain data, and its winners as configuration files."""

import statistics
from typing import Any

from optuna.trial import FrozenTrial

from multimodal_vit import config as configuration
from multimodal_vit.config_file import source
from multimodal_vit.search.definition import Condition
from multimodal_vit.search.worker import Search, status

STATUSES = ("done", "pruned", "failed", "skipped", "running")


def summary(search: Search) -> dict[str, Any]:
    """The search as JSON can hold it: its budget, and each condition's use, winner and trials.

    Accuracies are of the validation split, as fractions; standard deviations are of the seeds, with
    n - 1, and null for a single seed.
    """
    config = search.config
    budget = ("num_trials", "max_hours", "num_seeds", "sampler", "pruner", "seed")
    conditions = {}
    for condition, study in search.studies:
        rows = [_row(trial) for trial in study.get_trials(deepcopy=False)]
        done = [row for row in rows if row["status"] == "done"]
        conditions[condition.name] = {
            "counts": {name: sum(row["status"] == name for row in rows) for name in STATUSES},
            "num_settings": condition.num_settings,
            "hours": search.hours(study),
            "winner": max(done, key=lambda row: row["match_accuracy_mean"], default=None),
            "trials": rows,
        }
    return {
        "name": config.name,
        "title": config.title,
        "budget": {name: config[name] for name in budget},
        "conditions": conditions,
    }


def _row(trial: FrozenTrial) -> dict[str, Any]:
    attributes = trial.user_attrs
    row: dict[str, Any] = {
        "trial": trial.number,
        "status": status(trial),
        "reason": attributes.get("skipped", attributes.get("reason", "")),
        "setting": trial.params,
        "seeds": len(attributes.get("match_accuracy", ())),
        "hours": attributes.get("hours", 0.0),
        "attempts": attributes.get("attempts", 0),
    }
    for name in ("chance", "above_chance", "order_auroc", "reads_order"):
        row[name] = attributes.get(name, [])
    asked = row["order_auroc"]
    row["order_auroc_mean"] = statistics.fmean(asked) if asked else None
    row["seeds_reading_order"] = sum(row["reads_order"]) if asked else None
    for metric in ("match_accuracy", "class_accuracy"):
        values = attributes.get(metric, [])
        row[metric] = values
        row[f"{metric}_mean"] = statistics.fmean(values) if values else None
        row[f"{metric}_std"] = statistics.stdev(values) if len(values) > 1 else None
    return row


def winner_source(found: dict[str, Any], condition: Condition) -> str | None:
    """The winner of a condition as the text of a file that `--config` accepts.

    Args:
      found: as `summary` returns it.
      condition: the condition.

    Returns:
      The text; None where no trial is done.
    """
    counts = found["conditions"][condition.name]["counts"]
    winner = found["conditions"][condition.name]["winner"]
    if winner is None:
        return None
    name = f"{found['name']}_{condition.name}_winner"
    config = configuration.changed(condition.setting(winner["setting"]), {"name": name})
    spread = winner["match_accuracy_std"]
    accuracy = f"{winner['match_accuracy_mean']:.2%}"
    accuracy += "" if spread is None else f" ± {spread:.2%}"
    about = (
        f"Trial {winner['trial']}: validation true/false accuracy {accuracy} (of {winner['seeds']} "
        f"seeds), the best of {counts['done']} finished trials. It was chosen by this number, "
        "which is therefore too high; the test split was not looked at."
    )
    if order := winner["reads_order"]:
        aurocs = ", ".join(f"{value:.3f}" for value in winner["order_auroc"])
        about += (
            f" {sum(order)} of {len(order)} seeds read in order (AUROC of order foils on the "
            f"validation split: {aurocs})."
        )
    begins = f"The winner of the search {found['name']}, condition {condition.name}."
    return source(config, begins, about)
