// Contact sheets that fill when they come into view, the timelines of the sources, the start.

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
  piece.dataset.clip = index;
  piece.addEventListener("click", () => openPanel(index, list, piece));
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
  root.dataset.theme = stored("wanctl-theme", "");
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    store("wanctl-theme", root.dataset.theme);
  });
}

/** Highlights the link of the section that is in view. */
function watchSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      links.forEach((link) => link.classList.remove("here"));
      const link = links.get(entry.target.id);
      link.classList.add("here");
      // scrolls the row of links alone, not the page
      link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 40;
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
}

function followOverrides() {
  document.addEventListener("overrides", () => {
    document.querySelectorAll(".clip[data-clip]").forEach(mark);
    fillShow();
  });
  const loaded = token ? request("GET").then(fileOverrides) : Promise.resolve();
  return loaded.then(() => document.dispatchEvent(new Event("overrides")), report);
}

watchTheme();
watchSections();
applySwitches();
fillForm();
setOrder("up");
drawTimelines();
document.getElementById("switches").append(switches());
form.addEventListener("input", searchAndLink);
form.addEventListener("submit", (event) => event.preventDefault());
form.order.addEventListener("click", () => {
  setOrder(form.order.value === "up" ? "down" : "up");
  searchAndLink();
});
more.addEventListener("click", grow);
startViews();
followOverrides();
