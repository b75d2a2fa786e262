// The review page: which clip and caption is current, what keys do, what is saved and undone.

import { Refused, decide, element, read, toast, videoUrl } from "./api.js";
import * as view from "./clip.js";
import * as clips from "./list.js";

const at = (id) => document.getElementById(id);
const state = { clip: null, index: 0, area: null };
const undone = [];
let turn = 0;  // of loads: an answer that comes late is dropped
let prefetch;

const entries = () => state.clip?.captions ?? [];
const entry = () => entries()[state.index];
const undecided = (each) => view.isCaption(each) && !each.decision;

async function go(place, prefer = undecided) {
  if (!await leaveEditor()) return;
  const mine = ++turn;
  clearTimeout(prefetch);
  const row = await clips.clipAt(place);
  if (!row) { toast(place < 0 ? "This is the first clip." : "This was the last clip of the list.", "good"); return; }
  const clip = await read("/api/clip", { id: row.id });
  if (mine !== turn) return;
  state.clip = clip;
  clips.mark(place);
  view.drawClip(clip, place, clips.list.total);
  const preferred = clip.captions.findIndex(prefer);
  state.index = Math.max(0, preferred >= 0 ? preferred : clip.captions.findIndex(view.isCaption));
  drawCaptions();
  showClip(true);
  closeDrawer();
  at("main").scrollTo({ top: 0 });
  at("captions").scrollTo({ top: 0 });
  if (innerWidth < 860) scrollTo({ top: 0 });
  select(state.index);
  // clips that are only passed on the way are not encoded
  prefetch = setTimeout(() => {
    view.play(row.id);
    const next = clips.idAfter();
    prefetch = setTimeout(() => next && fetch(videoUrl(next), { method: "HEAD" }).catch(() => {}), 600);
  }, 120);
}

function showClip(found) {
  at("stage").hidden = at("captions").hidden = at("actions").hidden = !found;
  at("empty").hidden = found;
}

function drawCaptions() {
  at("captions").replaceChildren(...entries().map((each, index) => view.captionCard(each, index, BUTTONS)));
  select(state.index);
}

const BUTTONS = { select, accept: () => run(accept), edit: () => run(edit), reject: () => run(reject) };

function select(index) {
  state.index = index;
  [...at("captions").children].forEach((card, number) => {
    card.classList.toggle("current", number === index);
    if (number === index) { card.setAttribute("aria-current", "true"); card.scrollIntoView({ block: "nearest" }); }
    else card.removeAttribute("aria-current");
  });
}

function move(step) {
  let index = state.index + step;
  while (entries()[index] && !view.isCaption(entries()[index])) index += step;
  if (entries()[index]) select(index);
}

function showCounts(counts) {
  if (!counts) return;
  for (const name of ["reviewed", "left", "flagged"]) at(name).textContent = counts[name].toLocaleString("en");
  at("bar").value = counts.captions ? counts.reviewed / counts.captions : 0;
  at("flagged-count").hidden = !counts.flagged;
}

// Store decisions; true when they are on the disk.
async function save(action, changes, { remember = true } = {}) {
  if (!changes.length) return false;
  try {
    const done = await decide(action, changes);
    take(done.changes);
    showCounts(done.counts);
    if (remember) undone.push({ place: clips.list.place, filters: clips.chosen(), changes: changes.map((each, number) =>
      ({ ...each, before: done.changes[number].decision, after: each.before })) });
    return true;
  } catch (error) {
    if (error instanceof Refused && error.status === 409) { take(error.body.current); showCounts(error.body.counts); }
    toast(error.message);
    return false;
  }
}

// Put what the server stores into the clip on the screen.
function take(changes) {
  for (const change of changes) {
    const found = change.id === state.clip?.id && entries().find((each) => each.variant === change.variant);
    if (found) found.decision = change.decision;
  }
  if (!state.area) drawCaptions();
  if (state.clip) clips.update(state.clip.id, entries());
}

const change = (each, text) => ({ id: state.clip.id, variant: each.variant, before: each.decision,
  after: { text, backend: (each.decision || view.current(each)).backend } });

async function moveOn() {
  const later = entries().findIndex((each, index) => index > state.index && undecided(each));
  const any = later < 0 ? entries().findIndex(undecided) : later;
  if (any >= 0) select(any); else await go(clips.list.place + 1);
}

async function accept() {
  const each = entry();
  if (!each || !view.isCaption(each) || state.area) return;
  const text = view.current(each).text;
  if (!text) { toast("An empty caption cannot be accepted; edit or reject it."); return; }
  if (each.decision?.text === text || await save("accept", [change(each, text)])) await moveOn();
}

async function reject() {
  const each = entry();
  if (!each || !view.isCaption(each) || state.area) return;
  if (each.decision?.text === "" || await save("reject", [change(each, "")])) await moveOn();
}

async function acceptAll() {
  const open = entries().filter((each) => undecided(each) && !each.flags.length && view.current(each).text);
  if (open.length && !await save("accept", open.map((each) => change(each, view.current(each).text)))) return;
  await moveOn();
}

async function rejectAll() {
  const open = entries().filter(undecided);
  if (open.length && !await save("reject", open.map((each) => change(each, "")))) return;
  await moveOn();
}

function edit() {
  const each = entry();
  if (!each || !view.isCaption(each) || state.area) return;
  const card = at("captions").children[state.index];
  const before = each.decision;  // as it was when the editor opened
  document.body.classList.add("editing-text");
  state.area = view.openEditor(card, view.current(each).text, { save: (text) => run(() => keep(text)), cancel: closeEditor });
  async function keep(text) {
    const trimmed = text.split(/\s+/).join(" ").trim();
    if (!trimmed) { toast("An empty caption is no caption; Esc, then r rejects it."); return; }
    if (!state.area) return;  // saved by a first press
    const unchanged = trimmed === before?.text;
    if (unchanged || await save("edit", [{ ...change(each, trimmed), before }])) {
      closeEditor();
      toast("Saved", "good");
      await moveOn();
    }
  }
}

function closeEditor() {
  state.area = null;
  document.body.classList.remove("editing-text");
  drawCaptions();
}

// Whether the editor is closed, or may be: a text that was changed is not thrown away.
async function leaveEditor() {
  if (!state.area) return true;
  if (state.area.value !== view.current(entry()).text) {
    toast("This caption has unsaved changes: Ctrl Enter saves them, Esc drops them.");
    state.area.focus();
    return false;
  }
  closeEditor();
  return true;
}

async function undo() {
  const change = undone.pop();
  if (!change) { toast("There is nothing to undo.", "good"); return; }
  const { id, variant } = change.changes[0];
  const here = state.clip?.id === id;
  if (!await save("undo", change.changes, { remember: false })) return;
  toast("Undone", "good");
  if (here) select(Math.max(0, entries().findIndex((each) => each.variant === variant)));
  else if (JSON.stringify(change.filters) === JSON.stringify(clips.chosen())) await go(change.place, (each) => each.variant === variant);
}

async function flagged(step = 1) {
  const isFlagged = (each) => undecided(each) && each.flags.length;
  const here = entries().findIndex((each, index) => isFlagged(each) && (step > 0 ? index > state.index : index < state.index));
  if (here >= 0) { select(here); return; }
  const place = await clips.nextFlagged(step);
  if (place === null) {
    const first = entries().findIndex(isFlagged);
    if (first >= 0) select(first); else toast("No flagged caption is left in this list.", "good");
  } else await go(place, isFlagged);
}

const help = at("help");
const ACTIONS = {
  ahead: () => go(clips.list.place + 1), back: () => go(clips.list.place - 1), accept, reject, edit, acceptAll, rejectAll, undo,
  flagged: () => flagged(1),
};
const KEYS = [
  ["Move", [["→", "n", "next clip"], ["←", "p", "previous clip"], ["↓", "j", "next caption"], ["↑", "k", "previous caption"],
    ["f", "next flagged caption"], ["F", "previous flagged caption"]]],
  ["Decide", [["a", "accept the caption"], ["e", "Enter", "edit it"], ["r", "reject it"],
    ["A", "accept all of the clip that are not flagged"], ["R", "reject all that are undecided"], ["u", "undo"]]],
  ["Watch", [["Space", "play or stop"], [",", "one frame back"], [".", "one frame on"]]],
  ["Find", [["/", "search"], ["l", "list of clips"], ["Esc", "leave a field"], ["?", "these keys"]]],
];
const ON_KEY = {
  ArrowRight: ACTIONS.ahead, n: ACTIONS.ahead, ArrowLeft: ACTIONS.back, p: ACTIONS.back,
  ArrowDown: () => move(1), j: () => move(1), ArrowUp: () => move(-1), k: () => move(-1),
  f: () => flagged(1), F: () => flagged(-1), a: accept, e: edit, Enter: edit, r: reject, A: acceptAll, R: rejectAll, u: undo,
  " ": view.togglePlay, ",": () => view.stepFrame(-1), ".": () => view.stepFrame(1),
  "/": () => { openDrawer(); at("search").focus(); at("search").select(); },
  l: () => { openDrawer(); (at("list").querySelector("[aria-current]") || at("list").querySelector("button"))?.focus(); },
  "?": () => help.showModal(),
};

const openDrawer = () => { document.body.classList.add("drawer"); at("drawer").setAttribute("aria-expanded", "true"); };
const closeDrawer = () => { document.body.classList.remove("drawer"); at("drawer").setAttribute("aria-expanded", "false"); };

// Actions run one after the other, so that quick keys act on what the one before them left. A key
// that is held down does not run on after it is let go.
const MAX_WAITING = 3;
let last = Promise.resolve(), waiting = 0;
function run(action) {
  if (waiting >= MAX_WAITING) return;
  waiting += 1;
  last = last.then(action).catch((error) => toast(error.message)).finally(() => { waiting -= 1; });
}

addEventListener("keydown", (event) => {
  if (help.open || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const field = event.target.closest("input, textarea, select");
  if (field) {
    if (event.key === "Escape" || (event.key === "Enter" && field.id === "search")) { field.blur(); at("main").focus({ preventScroll: true }); event.preventDefault(); }
    return;
  }
  // a focused button or summary keeps its own keys
  if ((event.key === "Enter" || event.key === " ") && event.target.closest("button, summary, video")) return;
  if (event.key === "Escape") { closeDrawer(); at("main").focus({ preventScroll: true }); return; }
  const action = ON_KEY[event.key];
  if (!action) return;
  event.preventDefault();
  run(action);
});

function drawKeys() {
  at("keys").replaceChildren(...KEYS.map(([name, rows]) => {
    const box = element("section"), table = element("dl");
    box.append(element("h3", "", name), table);
    for (const row of rows) {
      const keys = element("dt");
      for (const key of row.slice(0, -1)) keys.append(element("kbd", "", key));
      table.append(keys, element("dd", "", row.at(-1)));
    }
    return box;
  }));
}

async function refresh() {
  if (!await leaveEditor()) return;
  const found = await clips.find();
  if (!found) return;
  showCounts(found.counts);
  if (found.total) { const typing = document.activeElement; await go(0); if (typing?.closest("#filters")) { openDrawer(); typing.focus(); } return; }
  state.clip = null;
  turn += 1;
  view.stop();
  showClip(false);
  const filters = clips.chosen();
  at("empty").textContent = filters.state === "left" && Object.keys(filters).length === 1
    ? "Every caption is reviewed." : "No clip fits these filters.";
}

addEventListener("beforeunload", (event) => {
  if (state.area && entry() && state.area.value !== view.current(entry()).text) event.preventDefault();
});

run(async () => {
  drawKeys();
  view.watchVideo();
  clips.onOpen((place) => run(() => go(place)));
  clips.start(() => run(refresh));
  for (const button of document.querySelectorAll("[data-do]")) button.onclick = () => run(ACTIONS[button.dataset.do]);
  at("help-button").onclick = () => help.showModal();
  at("drawer").onclick = () => (document.body.classList.contains("drawer") ? closeDrawer() : openDrawer());
  at("again").onclick = () => view.play(state.clip.id, true);
  const start = await read("/api/start");
  showCounts(start.counts);
  clips.fillChoices(start);
  await refresh();
  at("main").focus({ preventScroll: true });
  document.body.dataset.ready = "true";
});
