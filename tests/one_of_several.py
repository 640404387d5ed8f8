"""One process of a training by several; the tests start it with a task as JSON, see `main`."""

import json
import os
import signal
import sys
from pathlib import Path

from multimodal_vit import config as configuration
from multimodal_vit import distributed
from multimodal_vit.data import load_splits
from multimodal_vit.data.splitting import split
from multimodal_vit.train.experiment import Experiment
from multimodal_vit.train.loop import train


def main() -> None:
    """Trains in a workdir; in one process the wish to stop comes up after some dispatches."""
    coordinator, num_processes, process_id, task = sys.argv[1:]
    task = json.loads(task)
    distributed.start(coordinator, int(num_processes), int(process_id))
    digits = load_splits("digits", "digits")
    splits = split(digits.train[:96], digits.test[:40], "96 digits", rule="order")
    experiment = Experiment.create(configuration.from_json(task["config"], Path()), splits)
    left = task["dispatches"] if int(process_id) == task["stopped"] else 10**6

    def should_stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    outcome = train(experiment, Path(task["workdir"]), should_stop=should_stop)
    print(json.dumps({"step": outcome.step, "finished": outcome.finished}))
    distributed.stop()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    signal.alarm(240)
    main()
