"""Finished rewritings in the run folder, one JSON file each, so that none is asked for twice."""

import json
from pathlib import Path

from wanctl.atomic import make_folder, replacing
from wanctl.sample.rewrite.question import Question


class RewriteCache:
    """Stores the rewritten prompts of one model and its instructions.

    Args:
        folder: where the files are; need not exist.
        model: name of the model.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder
        self._model = model

    def get(self, question: Question, instructions: str) -> str | None:
        """The rewritten prompt; None where there is none or its file is damaged."""
        try:
            found = json.loads(self._path(question, instructions).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        text = found.get("rewritten") if isinstance(found, dict) else None
        return text if isinstance(text, str) and text else None

    def put(self, question: Question, instructions: str, rewritten: str) -> None:
        """Store a rewritten prompt.

        Raises:
            WriteError: the folder cannot be written.
        """
        make_folder(self._folder)
        content = {
            "prompt": question.prompt,
            "rewritten": rewritten,
            "language": question.language,
            "model": self._model,
            "pictures": {each.role: each.content for each in question.pictures},
        }
        with replacing(self._path(question, instructions)) as temp:
            text = json.dumps(content, ensure_ascii=False, indent=2)
            temp.write_text(text + "\n", encoding="utf-8")

    def _path(self, question: Question, instructions: str) -> Path:
        return self._folder / f"{question.key(self._model, instructions)}.json"
