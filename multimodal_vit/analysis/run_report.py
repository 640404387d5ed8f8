"""The report of a single run: what it can do, what it uses, how sure that is, how to repeat it.

A run has no conditions and no tests; its intervals are those of other test images.
"""

import re
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from multimodal_vit.analysis.cells import PageTable, cell
from multimodal_vit.analysis.page_parts import (
    common_fields,
    finished_conditions,
    pictures_of,
    rules_of,
    strip_of,
    versions_of,
)
from multimodal_vit.analysis.pages import figures_in, percent, write_pages
from multimodal_vit.analysis.probe_report import probe_section
from multimodal_vit.config_file import source
from multimodal_vit.files import replacing
from multimodal_vit.run_files import REPEAT
from multimodal_vit.study.definition import StudyRun, study
from multimodal_vit.train.progress import duration
from multimodal_vit.workdir import Workdir

FIGURES = {
    "accuracy": "accuracy",
    "match_accuracy": "true/false accuracy",
    "match_accuracy_true": "on true pairs",
    "match_accuracy_false": "on false pairs",
    "called_false": "pairs called false",
    "class_accuracy": "per-class accuracy",
    "class_exact_match": "all classes of a pair right",
}


def write_run_report(config: ConfigDict, workdir: Workdir, command: str) -> Path:
    """Writes a finished run's `report.html`, `report.md` and `figures/` into its folder.

    Beside them the configuration as a file, so that the training can be repeated.

    Args:
      config: the run's.
      workdir: its folder.
      command: that made the report.

    Returns:
      The page's path.
    """
    name = re.sub(r"[^\w-]", "_", config.name)
    as_study = study(f"{config.name}, seed {config.seed}", {name: config})
    (condition,) = finished_conditions(as_study, [StudyRun(name, config, workdir)])
    folder = workdir.path
    with replacing(folder / REPEAT) as file:
        file.write(source(config, f"The configuration of the run {name}, seed {config.seed}."))
    figure = figures_in(folder)
    (said,) = condition.verdicts
    (results,) = condition.results
    page = {
        "title": as_study.title,
        "single": True,
        "classifies": condition.task.classifies,
        "verdict": said,
        "at_chance": condition.at_chance,
        "strip": strip_of([condition], figure),
        "test_table": _table(results["test"]),
        "loss": f"{results['test']['loss']:.4f}",
        "skipped": results.get("skipped", {}),
        "probes": probe_section([condition], figure),
        **pictures_of([condition], figure),
        "rules": list(rules_of([condition])),
        "origin": condition.experiment.splits.origin,
        "shapes": condition.shapes(),
        "best_step": results["best_step"],
        "steps": results["steps"],
        "seconds": duration(results["train_seconds"]),
        "parameters": f"{results['parameters']:,}",
        "examples_per_second": f"{results['examples_per_second']:,.0f}",
        "devices": results["versions"].get("devices", "a device that is not known"),
        "repeat": (
            f"python -m multimodal_vit.main --config={folder / REPEAT} --workdir={folder}_again"
        ),
        "command": command.replace("\n", " "),
        "common": common_fields(as_study, {}),
        "versions": versions_of([condition]),
    }
    write_pages(folder, "run", page)
    return folder / "report.html"


def _table(test: dict[str, Any]) -> PageTable:
    """The figures of the test split, with intervals and what chance gives."""
    rows = []
    for name, about in FIGURES.items():
        if name in test:
            chance = test["chance"].get(name)
            rows.append(
                (
                    about,
                    "",
                    [
                        cell([test[name]], "percent", test["intervals"].get(name)),
                        "" if chance is None else percent(chance, 1),
                    ],
                )
            )
    more = ("macro_f1", "macro F1"), ("auroc", "AUROC"), ("ece", "calibration error")
    for name, about in more:
        kind = "percent" if name == "ece" else "auroc"
        if name in test:
            interval = test["intervals"].get(name)
            chance = "0.5" if name == "auroc" else ""
            rows.append((about, "", [cell([test[name]], kind, interval), chance]))
    caption = f"On {test['num_pairs']:,} pairs of the test split, with 95 % intervals by image"
    return PageTable(caption, ["value", "chance"], rows)
