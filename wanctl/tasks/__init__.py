"""TASKS: what is made of what. A task knows the sizes it takes and builds the model's conditions.

Training and sampling build their conditions here, so that a model meets the same thing in both.
To add a task, write a class with the methods of `Task` and name it in TASKS.
"""

from wanctl.errors import UserError, unknown
from wanctl.tasks.api import Task, pad_texts, trim_text
from wanctl.tasks.words import T2I, T2V

__all__ = ["TASKS", "Task", "get_task", "pad_texts", "trim_text"]

TASKS: dict[str, Task] = {task.name: task for task in (T2V(), T2I())}


def get_task(name: str) -> Task:
    """Look a task up.

    Raises:
        UserError: no such row; names the nearest one.
    """
    if name not in TASKS:
        raise UserError(f"task: {unknown('task', name, TASKS)}")
    return TASKS[name]
