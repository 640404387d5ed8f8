"""Draws the pictures of README from finished runs: the task, and where models stand on the scale.

    python benchmarks/pictures.py runs/study_probes_small/runs/mnist_conv/seed_0 \
        runs/study_probes_small/runs/mnist_patch/seed_0 --into docs/pictures

The runs must have been asked all suites (`--suites=all`, or a study). The task is the first one's.
"""

import argparse
from pathlib import Path

from multimodal_vit.analysis import drawing, figures, scale_figure
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.workdir import Workdir


def main() -> None:
    """Writes task.png and scale.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    experiment = Experiment.create(Workdir(given.runs[0]).saved_config(), for_training=False)
    drawing.save(figures.task_sheet(experiment, 4), given.into / "task.png", dpi=80)
    scales, said = {}, {}
    for run in given.runs:
        results = Workdir(run).results()
        verdict, name = results["verdict"], results["config_name"]
        scales[name] = [verdict["scale"]]
        said[name] = "reads in order" if verdict["reads_order"] else "does not read in order"
    drawing.save(scale_figure.strip(scales, said), given.into / "scale.png", dpi=130)


if __name__ == "__main__":
    main()
