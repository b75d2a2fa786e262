"""bench.html, bench.md and the curves: hits, misses and false alarms of every family."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wanctl.atomic import write_bytes
from wanctl.bench.plots import dose_response, precision_recall
from wanctl.bench.result import Result
from wanctl.escaping import html_text, markdown_code, markdown_text

_STYLE = """
:root { color-scheme: light dark; --soft: #868e96; --good: #2b8a3e; --bad: #d9480f }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 980px; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2.5rem 0 .2rem } table { border-collapse: collapse; margin: .6rem 0 }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top }
th { font-weight: 600; border-bottom: 1px solid #8884 } td.n { font-variant-numeric: tabular-nums }
.soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) }
.plots { display: flex; flex-wrap: wrap; gap: 1rem } details { margin: .4rem 0 }
"""


def write(results: Sequence[Result], out: Path) -> None:
    """Write bench.html, bench.md and curves/*.svg."""
    drawn = {result["family"]: _plots(result) for result in results}
    for name, plots in drawn.items():
        for kind, svg in plots.items():
            write_bytes(out / "curves" / f"{name}-{kind}.svg", svg.encode())
    sections = "".join(_section(result, drawn[result["family"]]) for result in results)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv='
        "\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<title>wanctl filters bench</title>"
        f"<style>{_STYLE}</style><h1>Filters against known defects</h1>{_overview(results)}"
        f"{sections}</html>"
    )
    write_bytes(out / "bench.html", page.encode())
    write_bytes(out / "bench.md", table(results).encode())


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| | cases | precision | recall | AP | figures |", "|---|---|---|---|---|---|"]
    for result in results:
        metrics = "; ".join(
            f"{markdown_text(f['what'])} {f['value']:.3f}{_format_target(f)}"
            for f in result["figures"]
        )
        ap = "" if result["ap"] is None else f"{result['ap']:.3f}"
        shares = ("", "")
        if result["counts"]["of"]:
            shares = (f"{result['precision']:.3f}", f"{result['recall']:.3f}")
        cells = (markdown_code(result["family"]), str(result["cases"]), *shares, ap, metrics)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def format_half_dose(result: Result) -> str:
    """The dose at which half of the defects are detected, in words; empty where there is none."""
    value = result["dose"]["half"]
    return "" if value is None else f"half detected at {value:.3g} ({result['dose']['name']})"


def _plots(result: Result) -> dict[str, str]:
    plots = {}
    dose = result["dose"]
    if dose["curves"]:
        curves = {
            name: [(x, share) for x, share, _ in curve] for name, curve in dose["curves"].items()
        }
        plots["dose"] = dose_response(curves, result["family"], dose["name"], dose["half"])
    if result["curve"]:
        at = [(result["recall"], result["precision"])]
        title = f"{result['family']}: AP {result['ap']:.3f}"
        plots["precision-recall"] = precision_recall(result["curve"], title, at)
    return plots


def _overview(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        for figure in result["figures"]:
            if figure["bar"] is None:
                continue
            sign = "at most" if figure["below"] else "at least"
            word, style = ("met", "good") if figure["met"] else ("missed", "bad")
            lines.append(
                f"<tr><td>{html_text(result['family'])}<td>{html_text(figure['what'])}"
                f'<td class="n">{figure["value"]:.3f}<td>{sign} {figure["bar"]:g}'
                f'<td class="{style}">{word}</tr>'
            )
    head = "<tr><th>family<th>figure<th>measured<th>target<th></tr>"
    return f"<table>{head}{''.join(lines)}</table>" if lines else ""


def _section(result: Result, plots: dict[str, str]) -> str:
    counts = result["counts"]
    kinds = ", ".join(f"{name} {count}" for name, count in result["kinds"].items())
    keys = ", ".join(f"{k}: {v}" for k, v in result["settings"].items()) or "defaults"
    parts = [
        f"<h2>{html_text(result['family'])}</h2>",
        f'<div class="soft">{html_text(result["summary"])}; {result["cases"]} cases '
        f"({html_text(kinds)}); {html_text(keys)}</div>",
    ]
    if counts["of"]:
        ap = "" if result["ap"] is None else f", AP {result['ap']:.3f}"
        parts.append(
            f"<p>precision {result['precision']:.3f}, recall {result['recall']:.3f}{ap}: "
            f"{counts['true']} detected, {counts['missed']} missed, {counts['false']} false alarms "
            f"among {counts['of']}. {html_text(format_half_dose(result))}</p>"
        )
    parts.append(f'<div class="plots">{"".join(plots.values())}</div>')
    parts.append(_figures(result["figures"]))
    parts.append(_half_dose_table(result["dose"]))
    parts.append(_wrong(result))
    return "".join(parts)


def _figures(metrics: Sequence[dict[str, Any]]) -> str:
    lines = "".join(
        f'<tr><td>{html_text(f["what"])}<td class="n">{f["value"]:.3f}</tr>' for f in metrics
    )
    return f"<table>{lines}</table>" if lines else ""


def _half_dose_table(dose: dict[str, Any]) -> str:
    lines = "".join(
        f'<tr><td>{html_text(name)}<td class="n">{_crossing(dose["curves"][name], value)}</tr>'
        for name, value in dose["halves"].items()
    )
    if not lines:
        return ""
    head = f"<tr><th>kind<th>{html_text(dose['name'])} where half are detected</tr>"
    return f"<table>{head}{lines}</table>"


def _wrong(result: Result) -> str:
    lines = "".join(
        f"<tr><td>{html_text(w['what'])}<td>{html_text(w['case'])}"
        f'<td class="n">{_number(w["dose"])}'
        f"<td>{html_text(w['note'])}</tr>"
        for w in result["wrong"]
    )
    unread = ", ".join(result["unread"])
    note = f'<p class="bad">not readable: {html_text(unread)}</p>' if unread else ""
    if not lines:
        return note
    head = f"<summary>{len(result['wrong'])} wrong decisions</summary>"
    return f"{note}<details>{head}<table>{lines}</table></details>"


def _format_target(figure: dict[str, Any]) -> str:
    if figure["bar"] is None:
        return ""
    return f" ({'at most' if figure['below'] else 'at least'} {figure['bar']:g} expected)"


def _crossing(curve: Sequence[Sequence[float]], value: float | None) -> str:
    if value is not None:
        return f"{value:.3g}"
    return "at every dose" if all(share >= 0.5 for _, share, _ in curve) else "at none"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
