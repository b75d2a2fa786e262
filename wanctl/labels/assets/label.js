"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const KEYS = "123456789abcdefghijklmnopqrtuvwxyz";  // without s, which saves
const names = Object.keys(DATA.choices);
// a choice that is a digit has its own key: 0 and 1, or 1 to 5
const keyOf = names.map((name, i) => /^\d$/.test(name) ? name : KEYS[i]);
const store = "wanctl labels " + DATA.filter + " " + DATA.clips.map(c => c.id).join("").slice(0, 256);
const marks = Object.fromEntries(DATA.clips.filter(c => c.label).map(c => [c.id, c.label]));
try { Object.assign(marks, JSON.parse(localStorage.getItem(store) || "{}")); } catch { /* private */ }
let current = Math.max(0, DATA.clips.findIndex(c => !marks[c.id]));
const at = id => document.getElementById(id);

function player(clip, height) {
  const frame = document.createElement("div");
  frame.className = "window";
  frame.style.height = height + "px";
  if (!clip.sprite) { frame.textContent = "no thumbnail"; return frame; }
  const strip = new Image();
  strip.alt = "";
  strip.onload = () => {
    const width = strip.naturalWidth / DATA.frames * height / strip.naturalHeight;
    strip.style.height = height + "px";
    frame.style.width = width + "px";
    frame.step = n => { strip.style.transform = `translateX(${-width * n}px)`; };
  };
  strip.src = "data:image/webp;base64," + clip.sprite;
  frame.append(strip);
  return frame;
}

const tiles = DATA.clips.map((clip, i) => {
  const tile = document.createElement("button"), text = document.createElement("span");
  tile.append(player(clip, 80), text);
  tile.onclick = () => go(i);
  at("sheet").append(tile);
  return tile;
});

const buttons = names.map((name, i) => {
  const button = document.createElement("button"), key = document.createElement("kbd");
  key.textContent = keyOf[i];
  const meaning = /^\d$/.test(name) ? DATA.choices[name] : name;
  button.append(key, meaning);
  button.title = DATA.choices[name];
  button.onclick = () => mark(name);
  at("choices").append(button);
  return button;
});

let big = null;
function go(i) {
  current = Math.min(Math.max(i, 0), DATA.clips.length - 1);
  const clip = DATA.clips[current];
  big = player(clip, Math.min(360, innerHeight * .5));
  at("big").replaceChildren(big);
  at("about").textContent =
    `${current + 1} of ${DATA.clips.length} · ${clip.class || "no class"}` +
    (clip.score ? ` · score ${clip.score}` : "") + ` · ${clip.source} · ${clip.start_s}–${clip.end_s} s`;
  show();
  tiles[current].scrollIntoView({ block: "nearest" });
}

function show() {
  const done = DATA.clips.filter(c => marks[c.id]).length;
  at("name").textContent = DATA.filter;
  at("bar").max = DATA.clips.length;
  at("bar").value = done;
  at("count").textContent = `${done} of ${DATA.clips.length}`;
  names.forEach((name, i) => buttons[i].classList.toggle("on", marks[DATA.clips[current].id] === name));
  tiles.forEach((tile, i) => {
    const clip = DATA.clips[i], mark = marks[clip.id] || "";
    tile.setAttribute("aria-current", i === current);
    tile.classList.toggle("marked", !!mark);
    tile.lastChild.textContent = "";
    const left = document.createElement("i"), right = document.createElement("b");
    left.textContent = clip.class;
    right.textContent = mark;
    tile.lastChild.append(left, right);
  });
}

function mark(name) {
  const id = DATA.clips[current].id;
  if (name) marks[id] = name; else delete marks[id];
  try { localStorage.setItem(store, JSON.stringify(marks)); } catch { /* private window */ }
  if (name) go(current + 1); else show();
}

function csv() {
  // as wanctl/escaping.py: a spreadsheet would compute text that begins like a formula
  const plain = value => /^[ \u00a0"']*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(value)
    && !/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(value) ? "'" + value : String(value);
  const quote = value => /[",\r\n]/.test(plain(value)) ? '"' + plain(value).replaceAll('"', '""') + '"' : plain(value);
  const rows = DATA.clips.map(c => DATA.columns.map(k => quote(k === "label" ? marks[c.id] || "" : c[k])));
  return [DATA.columns, ...rows].map(row => row.join(",")).join("\n") + "\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = DATA.filter + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

at("save").onclick = save;
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const choice = keyOf.indexOf(event.key);
  if (choice >= 0) mark(names[choice]);
  else if (event.key === "ArrowRight") go(current + 1);
  else if (event.key === "ArrowLeft") go(current - 1);
  else if (event.key === "Backspace") mark("");
  else if (event.key === "s") save();
  else return;
  event.preventDefault();
});
let tick = 0;
setInterval(() => { tick = (tick + 1) % DATA.frames; if (big && big.step) big.step(tick);
  for (const tile of tiles) if (tile.matches(":hover")) tile.firstChild.step?.(tick); }, 160);
go(current);
