"""TASKS: what is made of what. A task knows the sizes it takes and builds the model's conditions.

Training and sampling build their conditions here, so that a model meets the same thing in both.
To add a task, write a class with the methods of `Task` and name it in TASKS; a variant that can do
it names it in VARIANTS.
"""

from wanctl.errors import UserError, unknown
from wanctl.tasks.api import Task
from wanctl.tasks.image_channels import FLF2V, I2V, Continuation, Interpolation
from wanctl.tasks.text import T2I, T2V
from wanctl.tasks.ti2v import TI2V
from wanctl.tasks.vace import VACE

TASKS: dict[str, Task] = {
    task.name: task
    for task in (T2V(), T2I(), I2V(), FLF2V(), Continuation(), Interpolation(), TI2V(), VACE())
}


def get_task(name: str) -> Task:
    """Look a task up.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in TASKS:
        raise UserError(f"task: {unknown('task', name, TASKS)}")
    return TASKS[name]
