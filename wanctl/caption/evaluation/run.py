"""`wanctl data caption-eval`: F1 against a labelled file, and tests with changed clips.

Writes caption-eval.json and caption-eval.html to `OUT/caption-eval/`, and there the answers of each
model, so that a run that was stopped goes on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wanctl.atomic import make_folder, write_bytes
from wanctl.caption.backends import VLM
from wanctl.caption.evaluation.counterfactual.ask import AnswerFile, Asker
from wanctl.caption.evaluation.counterfactual.chosen_clips import ChosenClips, choose_clips
from wanctl.caption.evaluation.counterfactual.rates import ARMS, UNCHANGED, measure
from wanctl.caption.evaluation.labelled.captioners import find_captioners, resolve_clips
from wanctl.caption.evaluation.labelled.labels import read_labels
from wanctl.caption.evaluation.labelled.matching import Matcher
from wanctl.caption.evaluation.labelled.scores import score
from wanctl.caption.evaluation.labelled.similarity import PhraseSimilarity
from wanctl.caption.evaluation.page import render
from wanctl.caption.evaluation.results import Result
from wanctl.caption.pipeline.decode import DecodeLimits
from wanctl.caption.run import chat_model_options, decode_limits, structured_options
from wanctl.caption.structured.build import StructuredFactory, measure_evidence
from wanctl.data.dataset import DatasetDir
from wanctl.errors import UserError
from wanctl.lock import locked
from wanctl.log import log, progress
from wanctl.recipe.load import LoadedRecipe
from wanctl.vlm.build import build_chat_model
from wanctl.vlm.chat import ChatModel

FOLDER, JSON_FILE, PAGE_FILE = "caption-eval", "caption-eval.json", "caption-eval.html"


@dataclass(frozen=True)
class CaptionEvalOptions:
    """What is measured.

    Attributes:
        captioners: NAME or NAME@KEY of tables that are compared with the labels; empty: all.
        labels: labelled file; None: no F1.
        counterfactual: whether the models of the recipes are asked about changed clips.
        max_clips: that they are asked about.
    """

    captioners: Sequence[str]
    labels: Path | None
    counterfactual: bool
    max_clips: int


def caption_eval(recipes: Sequence[LoadedRecipe], out: Path, options: CaptionEvalOptions) -> Result:
    """Measure captioners.

    Args:
        recipes: the first one names the data set; the models of all of them are asked about
            changed clips.
        out: output folder of the first recipe.
        options: what is measured.

    Returns:
        What caption-eval.json holds.

    Raises:
        UserError: nothing is to be measured, labels or tables do not fit, or a model cannot run.
    """
    if options.labels is None and not options.counterfactual:
        raise UserError(
            "caption-eval: nothing to measure; name --labels FILE, --counterfactual, or both"
        )
    if options.captioners and options.labels is None:
        raise UserError(
            "caption-eval: CAPTIONER chooses tables for --labels FILE, which is missing"
        )
    recipe = recipes[0].recipe
    dataset = DatasetDir.open(recipe.dataset.path or out / "dataset")
    matcher = Matcher(PhraseSimilarity())
    folder = out / FOLDER
    make_folder(folder)
    with locked(folder):
        result = {
            "labels": _against_labels(dataset, options.labels, options.captioners, matcher)
            if options.labels
            else None,
            "counterfactual": _against_changes(dataset, recipes, folder, options.max_clips, matcher)
            if options.counterfactual
            else None,
        }
        text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(folder / JSON_FILE, text.encode())
        write_bytes(folder / PAGE_FILE, render(result).encode())
    log.info("look at %s", folder / PAGE_FILE)
    return result


def _against_labels(
    dataset: DatasetDir, path: Path, names: Sequence[str], matcher: Matcher
) -> dict[str, Any]:
    labels = read_labels(path)
    clips = resolve_clips(dataset, labels)
    captioners = find_captioners(dataset, names, clips)
    records = []
    with progress(len(labels) * len(captioners), "caption-eval: labels") as bar:
        for each in captioners:
            pairs = (
                (label, each.structure(label, clip))
                for label, clip in zip(labels, clips, strict=True)
            )
            scores = score(each.name, each.source, pairs, matcher, bar)
            if scores.absent:
                log.warning(
                    "%s: %d of %d labelled clips are not captioned; they count as not named",
                    each.name, scores.absent, len(labels),
                )  # fmt: skip
            records.append({**scores.record(), "model": each.model})
    return {"file": str(path), "clips": len(labels), "captioners": records}


def _against_changes(
    dataset: DatasetDir,
    recipes: Sequence[LoadedRecipe],
    folder: Path,
    max_clips: int,
    matcher: Matcher,
) -> list[dict[str, Any]]:
    models = {}
    for loaded in recipes:
        if loaded.recipe.caption.model.model is None:
            raise UserError(
                f"{loaded.name}: caption.model.model is null; --counterfactual asks a model: "
                "set caption.model"
            )
        model = build_chat_model(
            chat_model_options(loaded.recipe.caption.model, loaded.recipe.device)
        )
        model.check()
        factory = _factory(loaded, model)
        models[f"{VLM}@{factory.structure_key}"] = (loaded, model, factory)
    clips = choose_clips(dataset, recipes[0].recipe.dataset.selection, max_clips)
    log.info("asking %d captioners %d questions each about %d clips",
             len(models), len(ARMS), len(clips.rows))  # fmt: skip
    return [
        _ask(name, model, factory, decode_limits(loaded.recipe), clips, folder, matcher)
        for name, (loaded, model, factory) in models.items()
    ]


def _factory(loaded: LoadedRecipe, model: ChatModel) -> StructuredFactory:
    """The structured pass of a recipe without anything measured, a detector's counts included."""
    return StructuredFactory(
        structured_options(loaded.recipe.caption),
        model=model.name,
        text_model=model.name,
        measure=measure_evidence,
        captions_need_frames=False,
    )


def _ask(
    name: str,
    model: ChatModel,
    factory: StructuredFactory,
    limits: DecodeLimits,
    clips: ChosenClips,
    folder: Path,
    matcher: Matcher,
) -> dict[str, Any]:
    answers = AnswerFile(folder / f"answers-{factory.structure_key}.jsonl")
    ids = [row["id"] for row in clips.rows]
    missing = {each: sum(not answers.has(each, arm) for arm in ARMS) for each in ids}
    pending = {each for each, count in missing.items() if count}
    with progress(len(ids) * len(ARMS), f"caption-eval: {name}") as bar:
        bar.advance(len(ids) * len(ARMS) - sum(missing.values()))
        asker = Asker(model, factory, answers, bar)
        try:
            asker.run(clips.frames(factory, limits, pending))
        finally:
            model.close()
    for failure, count in asker.failures.items():
        log.warning(
            "%s: %d questions have no answer (%s); run again to ask them", name, count, failure
        )
    chosen = {each: answers.answers.get(each, {}) for each in ids}
    described = sum(arms.get(UNCHANGED) is not None for arms in chosen.values())
    if not described:
        why = next(iter(asker.failures), "every answer failed its checks")
        raise UserError(f"{name} ({model.name}): describes none of {len(ids)} clips: {why}")
    rates = measure(chosen, clips.partners, matcher)
    return {
        "captioner": name,
        "model": model.name,
        "clips": described,
        "tests": {test: rate.record() for test, rate in rates.items()},
    }
