// The section that lists overrides and saves them as a file.

const SHOWN_OVERRIDES = 200;

function drawOverrides() {
  const entries = [...allOverrides(), ...takenBack()];
  const lines = entries.slice(0, SHOWN_OVERRIDES).map(overrideLine);
  const list = lines.length ? make("ul", "overrides", ...lines) : make("p", "soft", "none so far");
  const rest = entries.length - lines.length;
  const box = document.getElementById("override-list");
  box.replaceChildren(list, ...(rest > 0 ? [make("p", "soft small", `and ${rest.toLocaleString("en")} more`)] : []));
  document.getElementById("override-help").replaceChildren(...help());
  document.getElementById("override-tools").hidden = Boolean(token) || !(entries.length || countEdits());
  document.getElementById("override-discard").hidden = !countEdits();
  document.getElementById("override-save").classList.toggle("primary", countEdits() > 0);
}

/** Clips of this page whose override is in the selection, but not in overrides.json any more. */
function takenBack() {
  return data.clips.filter((clip) => clip.override && !overrideOf(clip.id)).map((clip) => ({ id: clip.id, gone: true }));
}

function help() {
  const code = (text) => make("code", "", text);
  if (token) return ["Decisions are stored in ", code("overrides.json"), " at once; ", code("wanctl data select"), " applies them."];
  return [
    "Open a clip to keep or drop it. Decisions stay in this browser until you save them as ",
    code("overrides.json"), " into ", code(data.folder), "; ", code("wanctl data select"), " applies them then.",
  ];
}

function overrideLine(entry) {
  const index = data.clips.findIndex((clip) => clip.id === entry.id);
  const clip = data.clips[index];
  const source = clip?.source ?? filed.get(entry.id)?.source ?? states.get(entry.id)?.source;
  const start = clip?.start ?? states.get(entry.id)?.start;
  const name = source ? `${shortName(source)} at ${clock(start ?? 0)}` : entry.id;
  const open = clip ? action(name, () => openPanel(index, [index]), `open ${name}`) : make("b", "", name);
  open.classList.add("name");
  const verdict = entry.gone ? make("span", "tag", "taken back") : verdictTag(entry.keep);
  const line = make("li", "", open, verdict, make("span", "reason", entry.reason ?? ""));
  line.append(make("span", "soft small", stateOf(entry, clip)));
  if (!entry.gone) {
    line.append(action("Take back", () => decide(entry.id, null, "").catch(report), `take back the decision on ${name}`));
  }
  return line;
}

function stateOf(entry, clip) {
  const state = states.get(entry.id)?.state;
  if (state === "unknown" && !clip) return "no such clip in this data set";
  const applied = clip ? !isPending(clip) : state === "applied" && !edits.has(entry.id);
  return `${edits.has(entry.id) ? "not saved yet; " : ""}${applied ? "applied" : "applies after the next select"}`;
}

function report(error) {
  document.getElementById("override-status").textContent = error.message;
}

function saveOverrides() {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([overridesFile()], { type: "application/json" }));
  link.download = "overrides.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  report({ message: `Put it into ${data.folder}, then run wanctl data select.` });
}

document.getElementById("override-save").addEventListener("click", saveOverrides);
document.getElementById("override-copy").addEventListener("click", () => {
  copyText(overridesFile()).then(() => report({ message: "copied" }), report);
});
document.getElementById("override-discard").addEventListener("click", discardEdits);
document.addEventListener("overrides", drawOverrides);
