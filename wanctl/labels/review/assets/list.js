// Filters, the list of clips, and its pages. The server keeps the list as it was found, so that a
// clip does not move away under the reader after a decision.

import { element, read } from "./api.js";

const PAGE = 50;
const STATES = { "": "all clips", left: "captions to review", flagged: "flagged captions",
  reviewed: "reviewed captions", accepted: "accepted captions", edited: "edited captions",
  rejected: "rejected captions" };
const at = (id) => document.getElementById(id);
const form = at("filters");

export const list = { place: 0, total: 0, start: 0, clips: [] };
let filters = {};

export function fillChoices(start) {
  for (const select of form.querySelectorAll("select")) {
    const names = select.name === "state" ? Object.keys(STATES) : ["", ...start.choices[select.name]];
    for (const name of names) {
      const option = element("option", "", select.name === "state" ? STATES[name] : name.replaceAll("_", " ") || "any");
      if (select.name === "check" || select.name === "captioner" || select.name === "variant") option.textContent = name || "any";
      option.value = name;
      select.append(option);
    }
  }
  const values = () => {
    at("values").replaceChildren(...(start.values[form.field.value] || []).map((value) => {
      const option = element("option");
      option.value = value;
      return option;
    }));
  };
  form.field.addEventListener("change", values);
  form.state.value = start.counts.left ? "left" : "";
}

export const chosen = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim()));

// Find the clips that the filters fit, anew.
export async function find() {
  filters = chosen();
  const asked = filters;
  const found = await read("/api/clips", { ...filters, start: 0, count: PAGE, again: 1 });
  if (asked !== filters) return null;
  Object.assign(list, { total: found.total, start: 0, clips: found.clips, place: 0 });
  draw();
  return found;
}

// The clip at a place of the list, or null beyond its ends.
export async function clipAt(place) {
  if (place < 0 || place >= list.total) return null;
  const start = Math.floor(place / PAGE) * PAGE;
  if (start !== list.start || !list.clips.length) await turn(start);
  return list.clips[place - list.start] || null;
}

export const nextFlagged = async (step) =>
  (await read("/api/next", { ...filters, place: list.place, step })).place;

async function turn(start) {
  const found = await read("/api/clips", { ...filters, start, count: PAGE });
  Object.assign(list, { total: found.total, start, clips: found.clips });
  draw();
}

// The id of the next clip, if this page of the list knows it.
export const idAfter = () => list.clips[list.place + 1 - list.start]?.id;

export function mark(place) {
  list.place = place;
  for (const row of at("list").children) row.firstChild.removeAttribute("aria-current");
  const row = at("list").children[place - list.start];
  row?.firstChild.setAttribute("aria-current", "true");
  row?.scrollIntoView({ block: "nearest" });
}

// Bring the numbers of a clip up to date after a decision.
export function update(id, captions) {
  const index = list.clips.findIndex((clip) => clip.id === id);
  if (index < 0) return;
  const own = captions.filter((each) => each.variant !== "structure");
  list.clips[index].reviewed = own.filter((each) => each.decision).length;
  list.clips[index].flagged = own.filter((each) => !each.decision && each.flags.length).length;
  at("list").children[index].firstChild.lastChild.replaceWith(badge(list.clips[index]));
}

let open = () => {};
export function onOpen(action) { open = action; }

export const clock = (seconds) => {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds % 60).toFixed(1);
  return `${minutes}:${rest.padStart(4, "0")}`;
};

function badge(clip) {
  const done = clip.captions && clip.reviewed >= clip.captions;
  const text = !clip.captions ? "no captions" : clip.flagged ? `${clip.flagged} flagged` : done ? "done" : `${clip.reviewed}/${clip.captions}`;
  return element("span", `badge ${clip.flagged ? "flag" : done ? "done" : ""}`, text);
}

function draw() {
  at("list").replaceChildren(...list.clips.map((clip, index) => {
    const row = element("li"), button = element("button"), words = element("span", "words");
    button.type = "button";
    words.append(element("b", "", clip.source.split("/").pop()),
      element("small", "", `${clock(clip.start_s)} to ${clock(clip.end_s)}`));
    words.title = clip.source;
    button.append(words, badge(clip));
    button.onclick = () => open(list.start + index);
    row.append(button);
    return row;
  }));
  const last = Math.max(1, Math.ceil(list.total / PAGE));
  at("found").textContent = `${list.total.toLocaleString("en")} ${list.total === 1 ? "clip" : "clips"}`;
  at("page").textContent = `${Math.floor(list.start / PAGE) + 1} of ${last.toLocaleString("en")}`;
  at("page-before").disabled = list.start === 0;
  at("page-after").disabled = list.start + PAGE >= list.total;
  at("pages").hidden = last === 1;
  at("clear").hidden = Object.keys(filters).every((name) => name === "state");
  at("more").open ||= ["check", "captioner", "variant", "field", "value"].some((name) => filters[name]);
  mark(list.place);
}

export function start(changed) {
  let wait;
  form.addEventListener("input", (event) => {
    clearTimeout(wait);
    wait = setTimeout(changed, event.target.matches("select") ? 0 : 300);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  at("clear").onclick = () => { for (const each of form.elements) if (each.name && each.name !== "state") each.value = ""; changed(); };
  at("page-before").onclick = () => turn(list.start - PAGE);
  at("page-after").onclick = () => turn(list.start + PAGE);
}
