"""TRAINING_TASKS: the table of training tasks, one for each row of TASKS that can be trained.

To add a task, subclass `TrainingTask` in a module of this package and name the class here.
"""

from wanctl.train.dit.tasks.api import TrainingTask
from wanctl.train.dit.tasks.known_frames import (
    CleanFirstFrame,
    FirstAndLastFrame,
    FirstFrame,
    FirstFrames,
    RandomFrames,
)
from wanctl.train.dit.tasks.text import TextToImage, TextToVideo
from wanctl.train.dit.tasks.vace import VaceControls

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
        VaceControls,
    )
}
