// A dialog with all that is known of one clip; the arrow keys move to the next one.

const panel = document.getElementById("panel");
const STEP_MS = 133;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let shown = { index: -1, list: [], opener: null };
let player = { frame: STILL, timer: 0 };

/** Opens the dialog on a clip of a list; the focus returns to that list when it is closed. */
function openPanel(index, list, opener = shown.opener) {
  shown = { index, list, opener };
  pause();
  const clip = data.clips[index];
  const left = make("div", "", stage(index), under(index), switches(), decision(clip), tags(clip), reasons(clip), ...captions(clip), ...words(clip));
  const right = make("div", "", scores(clip), make("h4", "", "Clip"), facts(clip));
  const focused = panel.contains(document.activeElement) && document.activeElement.dataset.keep;
  panel.replaceChildren(make("div", "panel", tools(clip), left, right));
  if (!panel.open) panel.showModal();
  // what had the focus is gone
  (panel.querySelector(`[data-keep="${focused}"]`) ?? panel.querySelector("h3")).focus();
  showFrame(STILL);
  if (!calm.matches && spriteUrl(index)) play();
}

function step(by) {
  const next = shown.list[shown.list.indexOf(shown.index) + by];
  if (next !== undefined) openPanel(next, shown.list);
}

function tools(clip) {
  const title = make("h3", "", shortName(clip.source));
  title.id = "panel-title";
  title.tabIndex = -1;
  title.title = clip.source;
  const at = shown.list.indexOf(shown.index);
  const row = make("div", "tools", title, make("span", "soft small", `${at + 1} of ${shown.list.length}`));
  const ends = { "←": [-1, at > 0, "previous clip"], "→": [1, at < shown.list.length - 1, "next clip"] };
  for (const [sign, [by, can, label]] of Object.entries(ends)) {
    const button = action(sign, () => step(by), label);
    button.dataset.keep = label;
    // a disabled button would lose the focus
    button.setAttribute("aria-disabled", String(!can));
    row.append(button);
  }
  row.append(action("✕", () => panel.close(), "close"));
  return row;
}

function stage(index) {
  const clip = data.clips[index];
  const ratio = clip.width / clip.height;
  const wide = Math.min(980, innerWidth - 24) * (innerWidth > 820 ? 5 / 9 : 1);
  const width = ratio >= 1.5 ? wide : (wide / 1.5) * ratio;
  const box = make("div", "stage", film(index, 1.5, (12 * clip.width) / width));
  if (!spriteUrl(index)) box.append(make("p", "", "no thumbnail in this file"));
  return box;
}

/** A button that plays the frames, a slider over them, a button that plays the file. */
function under(index) {
  const row = make("div", "under");
  if (spriteUrl(index)) {
    const slider = make("input");
    Object.assign(slider, { type: "range", min: 0, max: data.frames - 1, value: STILL });
    slider.setAttribute("aria-label", "frame");
    slider.addEventListener("input", () => {
      pause();
      showFrame(Number(slider.value));
    });
    const button = action("Play", () => (player.timer ? pause() : play()));
    button.id = "frames";
    button.dataset.keep = "frames";
    row.append(button, slider, make("span", "soft small clock"));
  }
  row.append(action("Play the file", () => playFile(data.clips[index])));
  return row;
}

function showFrame(frame) {
  const clip = data.clips[shown.index];
  const moving = panel.querySelector(".stage .film");
  if (!moving || !spriteUrl(shown.index)) return;
  player.frame = frame;
  moving.style.backgroundPosition = `${framePosition(frame)} 0`;
  const svg = moving.querySelector("svg");
  const time = frameTime(clip, frame);
  if (svg) seek(svg, time);
  panel.querySelector("input[type=range]").value = frame;
  const away = clip.span && (time < clip.span[0] || time >= clip.span[1]);
  panel.querySelector(".clock").textContent = `${time.toFixed(1)} s${away ? ", trimmed away" : ""}`;
  panel.querySelector(".stage").classList.toggle("away", Boolean(away));
}

function play() {
  clearInterval(player.timer);
  player.timer = setInterval(() => showFrame((player.frame + 1) % data.frames), STEP_MS);
  nameButton("Pause");
}

function pause() {
  clearInterval(player.timer);
  player.timer = 0;
  nameButton("Play");
}

function nameButton(text) {
  const button = document.getElementById("frames");
  button?.replaceChildren(text);
  button?.setAttribute("aria-label", `${text} the frames`);
}

/** Plays the clip from its own file, where the browser can open it and knows its codec. */
function playFile(clip) {
  const remote = /^[a-z][a-z0-9+.-]+:\/\//i.test(clip.source);
  const path = clip.source.split("/").map(encodeURIComponent).join("/");
  // the review server sends a video of the clip alone
  const [start, end] = token ? [0, clip.end - clip.start] : [clip.start, clip.end];
  const video = make("video");
  Object.assign(video, { controls: true, autoplay: true, muted: true, loop: Boolean(token) });
  const box = panel.querySelector(".stage");
  const svg = box.querySelector("svg");
  pause();
  video.addEventListener("timeupdate", () => {
    if (video.currentTime >= end) video.currentTime = start;
    if (svg) seek(svg, video.currentTime - start);
  });
  video.addEventListener("error", () => {
    const why = make("p", "soft small", `this browser cannot play ${clip.source}`);
    box.replaceWith(stage(shown.index));
    panel.querySelector(".under").after(why);
    showFrame(player.frame);
  });
  video.src = token ? `/video/${clip.id}.mp4` : `${remote ? clip.source : `file://${path}`}#t=${start},${end}`;
  panel.querySelector(".under input")?.remove();
  panel.querySelector(".under .clock")?.remove();
  document.getElementById("frames")?.remove();
  box.replaceChildren(video, ...(svg ? [svg] : []));
}

function verdictTag(keep, text = keep ? "keep" : "drop") {
  return make("span", keep ? "tag keep" : "tag drop", text);
}

/** Keep or drop against the filters, with a reason. */
function decision(clip) {
  const entry = overrideOf(clip.id);
  const box = make("form", "decision");
  const reason = make("input");
  Object.assign(reason, { name: "reason", maxLength: 300, value: entry?.reason ?? "", placeholder: "Why?", autocomplete: "off" });
  reason.setAttribute("aria-label", "reason of your decision");
  reason.setAttribute("list", "used-reasons");
  const used = make("datalist", "", ...usedReasons().map((text) => option(text, text)));
  used.id = "used-reasons";
  const status = make("p", "soft small", decisionState(clip, entry));
  status.setAttribute("role", "status");
  const say = (error) => { status.textContent = error.message; };
  const choose = (keep) => {
    if (keep !== null && !reason.value.trim()) {
      say(new Error("Say why first."));
      reason.focus();
      return;
    }
    decide(clip.id, keep, reason.value).then(() => openPanel(shown.index, shown.list), say);
  };
  const row = make("div", "row", reason, used);
  for (const keep of [true, false]) {
    const name = keep ? "Keep" : "Drop";
    const button = action(name, () => choose(keep), `${name.toLowerCase()} this clip`);
    button.dataset.keep = name;
    button.classList.add(name.toLowerCase());
    button.setAttribute("aria-pressed", String(entry?.keep === keep));
    row.append(button);
  }
  if (entry) row.append(action("Take back", () => choose(null), "take back your decision"));
  box.append(make("h4", "", "Your decision"), row, status);
  box.addEventListener("submit", (event) => {
    event.preventDefault();
    // Enter in the reason of a decided clip changes the reason
    if (entry) choose(entry.keep);
    else say(new Error("Choose Keep or Drop."));
  });
  return box;
}

function decisionState(clip, entry) {
  if (!entry && !clip.override) return "The filters decide.";
  const where = token ? "In overrides.json" : "In this browser; save it under Overrides";
  const place = edits.has(clip.id) || token ? where : "In overrides.json";
  if (!entry) return `${place}: taken back; the next select lets the filters decide.`;
  return isPending(clip) ? `${place}; the next select applies it.` : "The selection applies it.";
}

function tags(clip) {
  const row = make("div", "tags", verdictTag(clip.kept, clip.kept ? "kept" : "dropped"));
  if (clip.override) row.append(make("span", "tag you", `a person decided: ${clip.override}`));
  for (const [name, label] of Object.entries(clip.labels)) row.append(make("span", "tag", `${name}: ${label}`));
  if (clip.crop) row.append(make("span", "tag", `cropped to ${clip.crop[2]}×${clip.crop[3]}`));
  if (clip.span) row.append(make("span", "tag", `trimmed to ${spanText(clip)}`));
  if (clip.bucket) row.append(make("span", "tag", `bucket ${clip.bucket}`));
  if (clip.weight !== 1) row.append(make("span", "tag", `weight ${formatNumber(clip.weight)}`));
  return row;
}

/** The span that is kept, in seconds from the clip's first frame. */
function spanText(clip) {
  return `${clip.span.map((time) => time.toFixed(2)).join(" to ")} s of ${seconds(clip.end - clip.start)}`;
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
  const legend = make(
    "p", "legend",
    make("span", "", make("i", "dot"), "passes"),
    make("span", "", make("i", "dot drop"), "dropped by it"),
    make("span", "", make("i", "bound"), "bound"),
    make("span", "", "from the lowest to the highest score in this file"),
  );
  return make("div", "", make("table", "", make("thead", "", head), body), legend);
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
  const line = make("div", "track");
  if (value === null) return line;
  const [low, high] = range(name);
  const where = (number) => `${high > low ? (100 * (number - low)) / (high - low) : 50}%`;
  for (const bound of filters.get(name).bounds) {
    const tick = make("i");
    tick.style.left = where(bound);
    line.append(tick);
  }
  const dot = make("b", clip.reasons.some(([other]) => other === name) ? "drop" : "");
  dot.style.left = where(value);
  line.append(dot);
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
    kept: clip.span ? spanText(clip) : "",
    trimmed: clip.trimmed,
    "crop by": (clip.crops ?? []).map(([name, x, y, width, height]) => `${name}: ${width}×${height} at ${x}, ${y}`).join("; "),
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
  const own = event.target.tagName === "VIDEO" || event.target.matches("input:not([type=checkbox])");
  if (own || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else return;
  event.preventDefault();
});
panel.addEventListener("close", () => {
  if (panel.open) return; // opened again before this event came
  pause();
  panel.replaceChildren(); // stops a video
  const sheet = shown.opener?.closest(".sheet, .line");
  (sheet?.querySelector(`[data-clip="${shown.index}"]`) ?? shown.opener)?.focus();
});
