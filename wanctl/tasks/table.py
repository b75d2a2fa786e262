"""TASKS: the table of tasks. A task checks sizes and builds the model's conditions.

Training and sampling build their conditions here, so that a model gets the same ones in both. To
add a task, subclass `Task` and name the class in TASKS; a variant that supports it names it in
VARIANTS.
"""

from wanctl.errors import UserError, unknown
from wanctl.tasks.api import Task
from wanctl.tasks.clips.animate import Animate
from wanctl.tasks.clips.animate2 import Animate2
from wanctl.tasks.clips.speech import S2V
from wanctl.tasks.fun.camera import Camera
from wanctl.tasks.fun.control import Control
from wanctl.tasks.image_channels import FLF2V, I2V, Continuation, Interpolation
from wanctl.tasks.subjects.r2v import R2V
from wanctl.tasks.subjects.recamera import Recamera
from wanctl.tasks.subjects.tracks import Tracks
from wanctl.tasks.text import T2I, T2V
from wanctl.tasks.ti2v import TI2V
from wanctl.tasks.vace.task import VACE

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        T2V(),
        T2I(),
        I2V(),
        FLF2V(),
        Continuation(),
        Interpolation(),
        TI2V(),
        VACE(),
        Control(),
        Camera(),
        R2V(),
        Recamera(),
        Tracks(),
        Animate2(),
        Animate(),
        S2V(),
    )
}


def get_task(name: str) -> Task:
    """Look a task up.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in TASKS:
        raise UserError(f"task: {unknown('task', name, TASKS)}")
    return TASKS[name]
