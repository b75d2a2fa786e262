"""The result of an evaluation: as JSON, and as rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from wanctl.caption.evaluation.counterfactual.rates import TESTS
from wanctl.caption.structured.schema import DIMENSIONS

Result = Mapping[str, Any]
"""`labels`: file, clips and the records of `Scores`, or null; `counterfactual`: a record for each
captioner with its `tests` (see `Rate.record`), or null."""


def captioner_names(result: Result) -> list[str]:
    """The captioners of a result, each once."""
    return list(model_names(result))


def model_names(result: Result) -> dict[str, str]:
    """Captioner -> its model; "" where it has none. Those that were asked come first."""
    parts = [*_counterfactual(result), *_scores(result)]
    return {each["captioner"]: each["model"] for each in parts}


def columns_and_rows(result: Result) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table of a result: a column for each captioner, a row for each figure."""
    names = captioner_names(result)
    rows = []
    scores = {each["captioner"]: each for each in _scores(result)}
    if scores:
        rows.append(("labelled clips", *_cells(names, scores, lambda each: _described(each))))
        for dimension in DIMENSIONS:
            if any(dimension in each["dimensions"] for each in scores.values()):
                rows.append((f"F1 {dimension}", *_cells(names, scores, _f1_of(dimension))))
        rows.append(("mean F1", *_cells(names, scores, lambda each: f"{each['mean_f1']:.3f}")))
    tests = {each["captioner"]: each for each in _counterfactual(result)}
    if tests:
        rows.append(("changed clips", *_cells(names, tests, lambda each: str(each["clips"]))))
        rows += [
            (f"{name}: {test.expects}", *_cells(names, tests, _rate_of(name)))
            for name, test in TESTS.items()
        ]
    models = model_names(result)
    titles = (f"{models[name]} ({name})" if models[name] else name for name in names)
    return ("measure", *titles), rows


def _scores(result: Result) -> Sequence[Mapping[str, Any]]:
    return result["labels"]["captioners"] if result["labels"] else ()


def _counterfactual(result: Result) -> Sequence[Mapping[str, Any]]:
    return result["counterfactual"] or ()


def _cells(names: Sequence[str], records: Mapping[str, Any], cell: Any) -> list[str]:
    return [cell(records[name]) if name in records else "" for name in names]


def _described(record: Mapping[str, Any]) -> str:
    total = record["clips"] + record["absent"]
    source = ", from words of captions" if record["source"] == "captions" else ""
    return f"{record['clips']} of {total}{source}"


def _f1_of(dimension: str) -> Any:
    def cell(record: Mapping[str, Any]) -> str:
        each = record["dimensions"][dimension]
        return f"{each['f1']:.3f} (P {each['precision']:.2f}, R {each['recall']:.2f})"

    return cell


def _rate_of(test: str) -> Any:
    def cell(record: Mapping[str, Any]) -> str:
        each = record["tests"][test]
        if not each["clips"]:
            return "nothing to change"
        return f"{each['rate']:+.2f} ± {each['error']:.2f} of {each['clips']}"

    return cell
