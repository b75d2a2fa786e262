"""TRAINING_TASKS: the table of training tasks, one for each row of TASKS that can be trained.

To add a task, subclass `TrainingTask` in a module of this package and name the class here.
"""

from collections.abc import Iterable

from wanctl.errors import UserError, unknown
from wanctl.train.dit.tasks.api import TaskOptions, TrainingTask
from wanctl.train.dit.tasks.known_frames import (
    CleanFirstFrame,
    FirstAndLastFrame,
    FirstFrame,
    FirstFrames,
    RandomFrames,
)
from wanctl.train.dit.tasks.text import TextToImage, TextToVideo

TRAINING_TASKS: dict[str, type[TrainingTask]] = {
    task.name: task
    for task in (
        TextToVideo,
        TextToImage,
        FirstFrame,
        FirstAndLastFrame,
        FirstFrames,
        RandomFrames,
        CleanFirstFrame,
    )
}


def make_training_tasks(names: Iterable[str], options: TaskOptions) -> list[TrainingTask]:
    """The tasks of these names.

    Raises:
        UserError: no such row; names the nearest one.
    """
    tasks = []
    for name in names:
        if name not in TRAINING_TASKS:
            raise UserError(f"train_dit.tasks: {unknown('task', name, TRAINING_TASKS)}")
        tasks.append(TRAINING_TASKS[name](options))
    return tasks
