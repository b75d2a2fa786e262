"use strict";
// The data, and the elements that show one clip. Text enters the page as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const thumbnails = JSON.parse(document.getElementById("thumbnails").textContent);
const filters = new Map(data.filters.map((each) => [each.name, each]));

/** The background position at which a sprite sheet shows one of its frames. */
function framePosition(frame) {
  return `${(100 * frame) / (data.frames - 1)}%`;
}

document.documentElement.style.setProperty("--frames", data.frames);
document.documentElement.style.setProperty("--still", framePosition(Math.round(0.4 * data.frames)));

/** An element with classes, text and children. */
function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A value that the browser keeps; some browsers keep nothing for local files. */
function stored(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    return; // it holds until the page is closed
  }
}

/** Copies a text; rejects with a message where the browser does not allow it. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    throw new Error("this browser does not allow copying");
  }
}

function action(text, run, label = text) {
  const button = make("button", "", text);
  button.type = "button";
  button.setAttribute("aria-label", label);
  button.addEventListener("click", run);
  return button;
}

const urls = new Map();

/** A URL of a clip's sprite sheet; null where the file holds none. */
function spriteUrl(index) {
  if (!urls.has(index)) {
    const text = thumbnails[index];
    const bytes = text && Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    urls.set(index, text ? URL.createObjectURL(new Blob([bytes], { type: "image/webp" })) : null);
  }
  return urls.get(index);
}

/** The animated thumbnail of a clip, which shows the whole frame, with the drawings over it. */
function film(index, room = 16 / 9, labelSize = 0) {
  const clip = data.clips[index];
  const url = spriteUrl(index);
  const ratio = clip.width / clip.height;
  const box = make("span", url ? "film" : "film none");
  if (!url) return box;
  box.style.aspectRatio = String(ratio);
  box.style.backgroundImage = `url(${url})`;
  box.classList.toggle("flat", ratio >= room);
  const svg = drawing(clip, labelSize);
  if (svg) box.append(svg);
  return box;
}

/** A clip in a contact sheet. `filter` names the filter whose reason or score is shown under it. */
function card(index, filter = "", list = [index], scoreOnly = false) {
  const clip = data.clips[index];
  const button = make("button", clip.kept ? "clip" : "clip dropped");
  const thumb = make("span", "thumb", film(index), make("span", "time", clip.span ? `${seconds(clip.span[1] - clip.span[0])} of ${seconds(clip.end - clip.start)}` : seconds(clip.end - clip.start)));
  button.type = "button";
  button.dataset.clip = index;
  button.append(thumb, make("span", "name", shortName(clip.source)), make("span", "why", caption(clip, filter, scoreOnly)));
  button.title = clip.source;
  button.addEventListener("click", () => openPanel(index, list, button));
  mark(button);
  return button;
}

/** Shows on a card what a person decided, and names the card for screen readers. */
function mark(button) {
  const clip = data.clips[button.dataset.clip];
  const entry = overrideOf(clip.id);
  button.querySelector(".you")?.remove();
  if (entry) button.querySelector(".thumb").append(make("span", `you ${entry.keep ? "keep" : "drop"}`, entry.keep ? "keep" : "drop"));
  const why = clip.kept ? "kept" : `dropped: ${clip.reasons.map(([name]) => name).join(", ")}`;
  const decided = entry ? `, a person decided: ${overrideText(entry)}` : "";
  button.setAttribute("aria-label", `${shortName(clip.source)} at ${clock(clip.start)}, ${why}${decided}`);
}

/** The line under a clip: why the filter drops it, else its score, else its start time. */
function caption(clip, filter, scoreOnly) {
  if (scoreOnly) return score(filter, clip.scores[filter] ?? null);
  const reasons = clip.reasons.filter(([name]) => !filter || name === filter).map(([, text]) => text);
  if (reasons.length) return reasons.join("; ");
  if (clip.override && !filter) return clip.override;
  if (filter in clip.scores) return score(filter, clip.scores[filter]);
  return `at ${clock(clip.start)}`;
}

function score(name, value) {
  return `${formatNumber(value)} ${filters.get(name)?.unit ?? ""}`.trim();
}

function formatNumber(value) {
  if (value === null) return "none";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
}

function seconds(value) {
  return value < 60 ? `${value.toFixed(1)} s` : clock(value);
}

function clock(value) {
  const whole = Math.floor(value);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

function shortName(source) {
  const last = source.split(/[\\/]/).pop();
  return last.replace(/(.)\.[^.]*$/, "$1");
}
