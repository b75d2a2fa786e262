// Draws one clip: its video, facts, structure and captions. Text from outside is textContent only.

import { element, videoUrl } from "./api.js";

const at = (id) => document.getElementById(id);
const LANGUAGES = { en: "English", zh: "Chinese" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function play(id, again = false) {
  const video = at("video");
  notice("Preparing the video …");
  video.hidden = false;
  video.src = videoUrl(id) + (again ? "&again" : "");
  if (!calm.matches) video.play().catch(() => {});
}

export function stop() {
  at("video").removeAttribute("src");
  at("video").load();
}

function notice(text, again = false) {
  at("notice").hidden = !text;
  at("screen").classList.toggle("waiting", Boolean(text));
  at("notice").firstChild.textContent = text;
  at("again").hidden = !again;
}

export function watchVideo() {
  const video = at("video");
  video.addEventListener("loadeddata", () => notice(""));
  video.addEventListener("error", async () => {
    const src = video.getAttribute("src");
    if (!src) return;
    video.hidden = true;
    const reply = await fetch(src.replace("&again", ""), { headers: { Range: "bytes=0-0" } }).catch(() => null);
    const body = reply && !reply.ok ? await reply.json().catch(() => ({})) : {};
    if (video.getAttribute("src") === src) {
      notice(body.error || (reply ? "This browser cannot play the video." : "The server does not answer."), true);
    }
  });
}

export const togglePlay = () => { const video = at("video"); if (video.paused) video.play().catch(() => {}); else video.pause(); };

export function stepFrame(direction) {
  const video = at("video");
  video.pause();
  video.currentTime = Math.max(0, video.currentTime + direction / 24);
}

export function drawClip(clip, place, total) {
  const facts = new Map(clip.facts);
  at("name").textContent = facts.get("file");
  at("name").title = clip.source;
  at("place").textContent = `clip ${(place + 1).toLocaleString("en")} of ${total.toLocaleString("en")}`;
  facts.delete("file");
  at("facts").replaceChildren(...pairs([...facts, ["source", clip.source]]));
  const fields = Object.entries(clip.structure).filter(([, value]) => shown(value).length);
  at("structure-box").hidden = !fields.length;
  at("structure").replaceChildren(...pairs(fields.map(([name, value]) => [name.replaceAll("_", " "), shown(value)])));
}

function pairs(rows) {
  return rows.flatMap(([name, value]) => {
    const cell = element("dd");
    if (Array.isArray(value)) for (const each of value) cell.append(element("span", "chip", each));
    else cell.textContent = value;
    return [element("dt", "", name), cell];
  });
}

// A value of the structure as text, or as a list of texts.
function shown(value) {
  if (Array.isArray(value)) return value.map((each) => each && typeof each === "object"
    ? ("count" in each ? `${each.count} × ${each.object}` : Object.values(each).reverse().join(" ")) : String(each));
  if (value && typeof value === "object") return JSON.stringify(value);
  return value === null || value === undefined ? "" : String(value);
}

// What a caption reads now, and whose it is.
export function current(entry) {
  return entry.decision?.text ? entry.decision
    : entry.texts[0] || entry.flags[0] || entry.decision || { text: "", backend: "review" };
}

export function stateOf(entry) {
  if (!entry.decision) return entry.flags.length ? "flagged" : "";
  if (!entry.decision.text) return "rejected";
  const texts = [...entry.texts, ...entry.flags].map((each) => each.text);
  return texts.includes(entry.decision.text) ? "accepted" : "edited";
}

export const isCaption = (entry) => entry.variant !== "structure";

function title(variant) {
  const words = variant.split("-");
  const language = LANGUAGES[words.at(-1)];
  return language ? [...words.slice(0, -1), language].join(" · ") : variant;
}

// The card of one caption; `actions` are called with its index.
export function captionCard(entry, index, actions) {
  const state = stateOf(entry);
  const card = element("article", `caption ${state}`);
  const head = element("div", "head");
  head.append(element("h3", "", isCaption(entry) ? title(entry.variant) : "structure of the clip"));
  head.append(element("span", "who", current(entry).backend));
  if (state) head.append(element("span", `pill ${state}`, state));
  card.append(head);
  const text = element("p", "text", current(entry).text || "(empty)");
  text.lang = entry.variant.endsWith("zh") ? "zh" : "en";
  text.dir = "auto";
  card.append(text);
  for (const flag of entry.flags) {
    const reasons = element("ul", "reasons");
    for (const line of flag.checks) {
      const [name, ...rest] = line.split(": ");
      const item = element("li");
      item.append(element("b", "", name), document.createTextNode(rest.length ? ` ${rest.join(": ")}` : ""));
      reasons.append(item);
    }
    card.append(reasons);
    if (flag.attempts > 1) card.append(element("p", "soft", `asked ${flag.attempts} times`));
  }
  const others = [...entry.texts.slice(state === "edited" ? 0 : 1),
    ...(entry.texts.length || state === "edited" ? entry.flags : entry.flags.slice(1))]
    .filter((each) => each.text && each.text !== current(entry).text);
  for (const each of others) {
    const more = element("details", "before");
    more.append(element("summary", "", `${each.backend} wrote`), element("p", "", each.text));
    card.append(more);
  }
  if (!isCaption(entry)) return card;
  const tools = element("div", "tools");
  for (const [name, label, key] of [["accept", "Accept", "a"], ["edit", "Edit", "e"], ["reject", "Reject", "r"]]) {
    const button = element("button", name, label);
    button.type = "button";
    button.append(element("kbd", "", key));
    button.onclick = (event) => { event.stopPropagation(); actions.select(index); actions[name](); };
    tools.append(button);
  }
  card.append(tools);
  card.onclick = () => { if (!getSelection().toString()) actions.select(index); };
  return card;
}

// Replace a card's text by an editor.
export function openEditor(card, text, { save, cancel }) {
  const box = element("div", "editor"), area = element("textarea"), tools = element("div", "tools");
  const keep = element("button", "accept", "Save"), drop = element("button", "", "Cancel"), count = element("span", "soft");
  area.value = text;
  area.setAttribute("aria-label", "caption");
  area.dir = "auto";
  keep.append(element("kbd", "", "Ctrl Enter"));
  drop.append(element("kbd", "", "Esc"));
  const grow = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
    const words = area.value.trim().split(/\s+/).filter(Boolean).length;
    count.textContent = `${words} words, ${area.value.trim().length} characters`;
  };
  area.oninput = grow;
  keep.type = drop.type = "button";
  keep.onclick = (event) => { event.stopPropagation(); save(area.value); };
  drop.onclick = (event) => { event.stopPropagation(); cancel(); };
  area.onkeydown = (event) => {
    if (event.isComposing) return;  // Enter and Esc belong to the input method
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); save(area.value); }
    else if (event.key === "Escape") { event.preventDefault(); cancel(); }
    event.stopPropagation();
  };
  tools.append(keep, drop, count);
  box.append(area, tools);
  card.classList.add("editing");
  card.querySelector(".text").replaceWith(box);
  grow();
  area.focus();
  area.setSelectionRange(area.value.length, area.value.length);
  card.scrollIntoView({ block: "nearest" });
  return area;
}
