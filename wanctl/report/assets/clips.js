"use strict";
// The data and the drawing of one clip. Text only ever enters the page as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const pictures = JSON.parse(document.getElementById("pictures").textContent);
const filters = new Map(data.filters.map((each) => [each.name, each]));

/** Where a strip stands to show one of its frames. */
function place(frame) {
  return `${(100 * frame) / (data.frames - 1)}%`;
}

document.documentElement.style.setProperty("--frames", data.frames);
document.documentElement.style.setProperty("--still", place(Math.round(0.4 * data.frames)));

/** An element with classes, text and children. */
function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

const urls = new Map();

/** A URL of a clip's strip of frames; null where the file holds none. */
function stripOf(index) {
  if (!urls.has(index)) {
    const text = pictures[index];
    const bytes = text && Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    urls.set(index, text ? URL.createObjectURL(new Blob([bytes], { type: "image/webp" })) : null);
  }
  return urls.get(index);
}

/** The moving picture of a clip, with the crop drawn on it. */
function film(index, room = 16 / 9) {
  const clip = data.clips[index];
  const url = stripOf(index);
  const ratio = clip.width / clip.height;
  const box = make("span", url ? "film" : "film none");
  if (!url) return box;
  box.style.aspectRatio = String(ratio);
  box.style.backgroundImage = `url(${url})`;
  box.classList.toggle("flat", ratio >= room);
  if (clip.crop) {
    const [x, y, width, height] = clip.crop;
    const crop = make("span", "crop");
    Object.assign(crop.style, {
      left: `${(100 * x) / clip.width}%`, top: `${(100 * y) / clip.height}%`,
      width: `${(100 * width) / clip.width}%`, height: `${(100 * height) / clip.height}%`,
    });
    box.append(crop);
  }
  return box;
}

/** A clip as it stands in a contact sheet. `about` names the filter whose word stands under it. */
function card(index, about = "", list = [index], scoreOnly = false) {
  const clip = data.clips[index];
  const button = make("button", clip.kept ? "clip" : "clip dropped");
  const thumb = make("span", "thumb", film(index), make("span", "time", seconds(clip.end - clip.start)));
  button.type = "button";
  button.append(thumb, make("span", "name", shortName(clip.source)), make("span", "why", word(clip, about, scoreOnly)));
  button.setAttribute("aria-label", `${shortName(clip.source)}, ${clip.kept ? "kept" : "dropped"}`);
  button.title = clip.source;
  button.addEventListener("click", () => openPanel(index, list));
  return button;
}

/** What stands under a clip: why the filter drops it, else its score, else when it is on. */
function word(clip, about, scoreOnly) {
  if (scoreOnly) return score(about, clip.scores[about] ?? null);
  const reasons = clip.reasons.filter(([name]) => !about || name === about).map(([, text]) => text);
  if (reasons.length) return reasons.join("; ");
  if (about in clip.scores) return score(about, clip.scores[about]);
  return `at ${clock(clip.start)}`;
}

function score(name, value) {
  return `${brief(value)} ${filters.get(name)?.unit ?? ""}`.trim();
}

function brief(value) {
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
