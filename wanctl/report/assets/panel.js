// A dialog with all metadata of one clip; the arrow keys move to the next one.

const panel = document.getElementById("panel");
let shown = { index: -1, list: [] };

function openPanel(index, list) {
  shown = { index, list };
  const clip = data.clips[index];
  const left = make("div", "", stage(index), under(index), tags(clip), reasons(clip), ...captions(clip), ...words(clip));
  const right = make("div", "", scores(clip), make("h4", "", "Clip"), facts(clip));
  panel.replaceChildren(make("div", "panel", tools(clip), left, right));
  if (!panel.open) panel.showModal();
}

function step(by) {
  const next = shown.list[shown.list.indexOf(shown.index) + by];
  if (next !== undefined) openPanel(next, shown.list);
}

function tools(clip) {
  const title = make("h3", "", shortName(clip.source));
  title.id = "panel-title";
  const at = shown.list.indexOf(shown.index);
  const row = make("div", "tools", title);
  const ends = { "←": [-1, at > 0, "previous clip"], "→": [1, at < shown.list.length - 1, "next clip"] };
  for (const [sign, [by, can, label]] of Object.entries(ends)) {
    row.append(action(sign, () => step(by), label, !can));
  }
  row.append(action("✕", () => panel.close(), "close"));
  return row;
}

function action(text, run, label = text, disabled = false) {
  const button = make("button", "", text);
  button.type = "button";
  button.disabled = disabled;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", run);
  return button;
}

function stage(index) {
  const moving = film(index, 1.5);
  moving.classList.add("plays");
  return make("div", "stage", moving);
}

/** A slider over the frames, a button that plays the file, a checkbox per set of outlines. */
function under(index) {
  const clip = data.clips[index];
  const row = make("div", "under");
  if (spriteUrl(index)) {
    const slider = make("input");
    Object.assign(slider, { type: "range", min: 0, max: data.frames - 1, value: 0 });
    slider.setAttribute("aria-label", "frame");
    slider.addEventListener("input", () => {
      const moving = panel.querySelector(".stage .film");
      if (!moving) return;
      moving.classList.remove("plays");
      moving.style.backgroundPosition = `${framePosition(slider.value)} 0`;
    });
    row.append(slider);
  }
  row.append(action("Play the file", () => playFile(clip)));
  for (const name of Object.keys(clip.outlines ?? {})) {
    const box = make("input");
    box.type = "checkbox";
    box.addEventListener("change", () => outline(clip, name, box.checked));
    row.append(make("label", "", box, ` ${name}`));
  }
  return row;
}

/** Draws the polygons of a filter on the frame that has most of them. */
function outline(clip, name, on) {
  const moving = panel.querySelector(".stage .film");
  moving?.querySelectorAll(".outlines").forEach((each) => each.dataset.name === name && each.remove());
  if (!on || !moving) return;
  const drawing = document.getElementById("outlines").content.firstElementChild.cloneNode(true);
  const model = drawing.firstElementChild;
  drawing.dataset.name = name;
  drawing.setAttribute("viewBox", `0 0 ${clip.width} ${clip.height}`);
  drawing.replaceChildren(...clip.outlines[name].map((points) => {
    const polygon = model.cloneNode();
    polygon.setAttribute("points", points.join(" "));
    return polygon;
  }));
  moving.append(drawing);
}

/** Plays the clip from its own file, where the browser can open it and knows its codec. */
function playFile(clip) {
  const remote = /^[a-z][a-z0-9+.-]+:\/\//i.test(clip.source);
  const path = clip.source.split("/").map(encodeURIComponent).join("/");
  const video = make("video");
  Object.assign(video, { controls: true, autoplay: true, muted: true });
  video.addEventListener("timeupdate", () => {
    if (video.currentTime >= clip.end) video.currentTime = clip.start;
  });
  video.addEventListener("error", () => {
    const why = make("p", "soft small", `this browser cannot play ${clip.source}`);
    video.replaceWith(make("div", "", film(shown.index, 1.5)));
    panel.querySelector(".under").after(why);
  });
  video.src = `${remote ? clip.source : `file://${path}`}#t=${clip.start},${clip.end}`;
  panel.querySelector(".stage").replaceChildren(video);
}

function tags(clip) {
  const row = make("div", "tags", make("span", clip.kept ? "tag keep" : "tag drop", clip.kept ? "kept" : "dropped"));
  for (const [name, label] of Object.entries(clip.labels)) row.append(make("span", "tag", `${name}: ${label}`));
  if (clip.crop) row.append(make("span", "tag", `cropped to ${clip.crop[2]}×${clip.crop[3]}`));
  if (clip.bucket) row.append(make("span", "tag", `bucket ${clip.bucket}`));
  if (clip.weight !== 1) row.append(make("span", "tag", `weight ${formatNumber(clip.weight)}`));
  return row;
}

function reasons(clip) {
  return make("ul", "reasons", ...clip.reasons.map(([name, text]) => make("li", "", `${name}: ${text}`)));
}

function captions(clip) {
  return (clip.captions ?? []).map(([variant, backend, text]) =>
    make("blockquote", "", text, make("cite", "", [variant, backend].filter(Boolean).join(", by "))),
  );
}

function words(clip) {
  return Object.entries(clip.words ?? {}).map(([name, text]) =>
    make("blockquote", "", text, make("cite", "", `read by ${name}`)),
  );
}

function scores(clip) {
  const body = make("tbody");
  for (const { name, bounds } of data.filters) {
    if (!(name in clip.scores)) continue;
    const value = clip.scores[name];
    const cells = [make("td", "n", score(name, value)), make("td", "", track(name, value, clip))];
    cells.push(make("td", "n soft", bounds.map(formatNumber).join(" … ")));
    body.append(make("tr", "", make("th", "", name), ...cells));
  }
  const head = make("tr", "", ...["score", "", "", "bound"].map((text) => make("th", text === "bound" ? "n" : "", text)));
  return make("table", "", make("thead", "", head), body);
}

const ranges = new Map();

/** Smallest and largest score of a filter among the clips in this file. */
function range(name) {
  if (!ranges.has(name)) {
    const values = data.clips.map((clip) => clip.scores[name]).filter(Number.isFinite);
    values.push(...filters.get(name).bounds);
    ranges.set(name, [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))]);
  }
  return ranges.get(name);
}

function track(name, value, clip) {
  const [low, high] = range(name);
  const line = make("div", "track");
  const where = (number) => `${high > low ? (100 * (number - low)) / (high - low) : 50}%`;
  for (const bound of filters.get(name).bounds) {
    const mark = make("i");
    mark.style.left = where(bound);
    line.append(mark);
  }
  if (value !== null) {
    const dot = make("b", clip.reasons.some(([other]) => other === name) ? "drop" : "");
    dot.style.left = where(value);
    line.append(dot);
  }
  return line;
}

function facts(clip) {
  const rows = {
    file: clip.source,
    time: `${clock(clip.start)} + ${seconds(clip.end - clip.start)}, ${clip.num_frames} frames at ${formatNumber(clip.fps)} fps`,
    frame: `${clip.width}×${clip.height}` + (clip.rotation ? `, rotated by ${clip.rotation}°` : ""),
    coding: [clip.codec, clip.pix_fmt, clip.vfr && "variable frame rate", clip.has_audio && "audio"].filter(Boolean).join(", "),
    damaged: clip.corrupt ? `${formatNumber(100 * clip.corrupt)} % of the frames` : "",
    crop: clip.crop ? `${clip.crop[2]}×${clip.crop[3]} at ${clip.crop[0]}, ${clip.crop[1]}` : "",
    id: clip.id,
  };
  const list = make("dl", "facts");
  for (const [name, text] of Object.entries(rows)) {
    if (text) list.append(make("dt", "", name), make("dd", "", text));
  }
  return list;
}

panel.addEventListener("click", (event) => event.target === panel && panel.close());
panel.addEventListener("keydown", (event) => {
  if (["INPUT", "VIDEO"].includes(event.target.tagName)) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
