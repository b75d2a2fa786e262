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

/** The animated thumbnail of a clip, with the crop drawn on it. */
function film(index, room = 16 / 9) {
  const clip = data.clips[index];
  const url = spriteUrl(index);
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

/** A clip in a contact sheet. `filter` names the filter whose reason or score is shown under it. */
function card(index, filter = "", list = [index], scoreOnly = false) {
  const clip = data.clips[index];
  const button = make("button", clip.kept ? "clip" : "clip dropped");
  const thumb = make("span", "thumb", film(index), make("span", "time", seconds(clip.end - clip.start)));
  button.type = "button";
  button.append(thumb, make("span", "name", shortName(clip.source)), make("span", "why", caption(clip, filter, scoreOnly)));
  button.setAttribute("aria-label", `${shortName(clip.source)}, ${clip.kept ? "kept" : "dropped"}`);
  button.title = clip.source;
  button.addEventListener("click", () => openPanel(index, list));
  return button;
}

/** The line under a clip: why the filter drops it, else its score, else its start time. */
function caption(clip, filter, scoreOnly) {
  if (scoreOnly) return score(filter, clip.scores[filter] ?? null);
  const reasons = clip.reasons.filter(([name]) => !filter || name === filter).map(([, text]) => text);
  if (reasons.length) return reasons.join("; ");
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
