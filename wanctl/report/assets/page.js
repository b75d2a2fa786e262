// Contact sheets that fill when they come into view, the search, the timelines of the sources.

const PAGE = 48;
const HUES = [25, 300, 70, 255, 350, 110, 280, 45, 325, 225];

/** Runs `fill` once, when an element is about to come into view. */
const visibility = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    visibility.unobserve(entry.target);
    entry.target.dataset.done = "1";
    entry.target.fill();
  }),
  { rootMargin: "500px" },
);

function fillWhenVisible(element, fill) {
  element.fill = fill;
  visibility.observe(element);
}

for (const sheet of document.querySelectorAll("[data-clips]")) {
  const list = sheet.dataset.clips.split(" ").map(Number);
  const { filter, words } = sheet.dataset;
  fillWhenVisible(sheet, () => sheet.append(...list.map((index) => card(index, filter, list, words === "score"))));
}

const form = document.getElementById("explorer");
const found = document.getElementById("found");
const more = document.getElementById("more");
let result = [];
let filter = "";

function option(value, text) {
  const element = make("option", "", text);
  element.value = value;
  return element;
}

function fillForm() {
  const count = (test) => data.clips.filter(test).length;
  const kept = count((clip) => clip.kept);
  form.show.append(option("kept", `kept (${kept})`), option("dropped", `dropped (${data.clips.length - kept})`));
  form.show.append(option("all", `all (${data.clips.length})`));
  const captioned = count((clip) => clip.captions);
  if (captioned) form.show.append(option("captioned", `captioned (${captioned})`));
  for (const name of data.names) {
    const number = count((clip) => clip.reasons.some(([other]) => other === name));
    if (number) form.show.append(option(`by:${name}`, `dropped by ${name} (${number})`));
  }
  if (!kept) form.show.value = "all";
  form.label.append(option("", "any"));
  const labels = new Set(data.clips.flatMap((clip) => Object.entries(clip.labels).map((pair) => JSON.stringify(pair))));
  for (const pair of [...labels].sort()) form.label.append(option(pair, JSON.parse(pair).join(": ")));
  form.label.parentElement.hidden = !labels.size;
  form.sort.append(option("", "source"), option("length", "length"));
  for (const { name } of data.filters) {
    if (data.clips.some((clip) => name in clip.scores)) form.sort.append(option(`score:${name}`, name));
  }
}

function tests() {
  const [show, label] = [form.show.value, form.label.value];
  const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const list = [];
  if (show === "kept") list.push((clip) => clip.kept);
  if (show === "dropped") list.push((clip) => !clip.kept);
  if (show === "captioned") list.push((clip) => clip.captions);
  if (show.startsWith("by:")) list.push((clip) => clip.reasons.some(([name]) => name === show.slice(3)));
  if (label) {
    const [labelFilter, name] = JSON.parse(label);
    list.push((clip) => clip.labels[labelFilter] === name);
  }
  if (words.length) list.push((clip) => words.every((each) => textOf(clip).includes(each)));
  return list;
}

function textOf(clip) {
  const labels = Object.entries(clip.labels).flat();
  return [clip.source, clip.id, ...clip.reasons.flat(), ...labels, ...(clip.captions ?? []).flat(), ...Object.values(clip.words ?? {})].join(" ").toLowerCase();
}

function sortKey() {
  const by = form.sort.value;
  if (by === "length") return (clip) => clip.end - clip.start;
  if (by.startsWith("score:")) return (clip) => clip.scores[by.slice(6)] ?? Infinity;
  return null;
}

function search() {
  const list = tests();
  const key = sortKey();
  const sign = form.order.textContent === "↑" ? 1 : -1;
  result = data.clips.map((_, index) => index).filter((index) => list.every((test) => test(data.clips[index])));
  if (key) result.sort((a, b) => sign * (key(data.clips[a]) - key(data.clips[b])) || a - b);
  else if (sign < 0) result.reverse();
  if (!key) result.sort((a, b) => (a in thumbnails ? 0 : 1) - (b in thumbnails ? 0 : 1));
  const [kind, name] = [form.sort.value, form.show.value];
  filter = kind.startsWith("score:") ? kind.slice(6) : name.startsWith("by:") ? name.slice(3) : "";
  document.getElementById("count").textContent = `${result.length} ${result.length === 1 ? "clip" : "clips"}`;
  found.replaceChildren();
  grow();
}

function grow() {
  const start = found.childElementCount;
  found.append(...result.slice(start, start + PAGE).map((index) => card(index, filter, result)));
  more.hidden = found.childElementCount >= result.length;
}

/** The colour of clips that a filter drops; kept clips have the page's own. */
function hue(code) {
  return `light-dark(oklch(0.62 0.16 ${HUES[code % HUES.length]}), oklch(0.72 0.15 ${HUES[code % HUES.length]}))`;
}

function drawTimelines() {
  const box = document.getElementById("timelines");
  const codes = [...new Set(data.timelines.flatMap((timeline) => timeline.clips.map((clip) => clip[2])))].sort((a, b) => a - b);
  const legend = make("p", "legend");
  for (const code of codes) {
    const dot = make("i");
    if (code >= 0) dot.style.setProperty("--c", hue(code));
    legend.append(make("span", "", dot, code < 0 ? "kept" : data.names[code]));
  }
  box.append(legend, ...data.timelines.map(timeline));
  const rest = data.sources - data.timelines.length;
  if (rest > 0) box.append(make("p", "soft small", `and ${rest.toLocaleString("en")} more files`));
}

function timeline({ source, end, clips }) {
  const line = make("span", "line");
  const name = make("b", "", shortName(source));
  name.title = source;
  const list = clips.map((clip) => clip[3]).filter((index) => index >= 0);
  fillWhenVisible(line, () => line.append(...clips.map((clip) => segment(clip, end, list))));
  line.addEventListener("keydown", (event) => {
    const next = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
    document.activeElement[next]?.focus();
  });
  return make("div", "timeline", name, line, make("span", "", clock(end)));
}

function segment([start, length, code, index], end, list) {
  const piece = make("button");
  piece.type = "button";
  piece.style.left = `${(100 * start) / end}%`;
  piece.style.width = `${(100 * length) / end}%`;
  if (code >= 0) piece.style.setProperty("--c", hue(code));
  piece.setAttribute("aria-label", `${clock(start)}, ${seconds(length)}, ${code < 0 ? "kept" : `dropped by ${data.names[code]}`}`);
  piece.tabIndex = start === 0 || !list.length || list[0] === index ? 0 : -1;
  if (index < 0) return piece;
  piece.addEventListener("click", () => openPanel(index, list));
  for (const event of ["mouseenter", "focus"]) piece.addEventListener(event, () => peek(piece, index));
  for (const event of ["mouseleave", "blur"]) piece.addEventListener(event, () => { peekBox.hidden = true; });
  return piece;
}

const peekBox = document.getElementById("peek");

function peek(piece, index) {
  const clip = data.clips[index];
  const where = `${clock(clip.start)} + ${seconds(clip.end - clip.start)}`;
  const why = clip.reasons.map((pair) => pair.join(": ")).join("; ");
  peekBox.replaceChildren(
    make("span", "thumb", film(index)),
    make("span", "name", where),
    make("span", "why", why || "kept"),
  );
  peekBox.hidden = false;
  const at = piece.getBoundingClientRect();
  const left = at.left + at.width / 2 - peekBox.offsetWidth / 2;
  peekBox.style.left = `${Math.max(8, Math.min(innerWidth - peekBox.offsetWidth - 8, left))}px`;
  const above = at.top - peekBox.offsetHeight - 8;
  peekBox.style.top = `${above > 0 ? above : at.bottom + 8}px`;
}

function watchTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  try {
    root.dataset.theme = localStorage.getItem("wanctl-theme") ?? "";
  } catch {
    root.dataset.theme = ""; // some browsers have no storage for local files
  }
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("wanctl-theme", root.dataset.theme);
    } catch {
      return; // the choice holds until the page is closed
    }
  });
}

/** Highlights the link of the section that is in view. */
function watchSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      links.forEach((link) => link.classList.remove("here"));
      links.get(entry.target.id).classList.add("here");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
}

watchTheme();
watchSections();
fillForm();
drawTimelines();
search();
form.addEventListener("input", search);
form.addEventListener("submit", (event) => event.preventDefault());
form.order.addEventListener("click", () => {
  form.order.textContent = form.order.textContent === "↑" ? "↓" : "↑";
  search();
});
more.addEventListener("click", grow);
