// The search over the clips of this file.

const PAGE = 48;
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

/** What `show` offers: value -> [text, test]. */
function showChoices() {
  const choices = {
    kept: ["kept", (clip) => clip.kept],
    dropped: ["dropped", (clip) => !clip.kept],
    all: ["all", () => true],
    captioned: ["captioned", (clip) => clip.captions],
    people: ["decided by people", (clip) => overrideOf(clip.id) || clip.override],
    pending: ["not selected yet", isPending],
    drawn: ["with drawings", (clip) => clip.drawings],
    cropped: ["cropped", (clip) => clip.crop],
    trimmed: ["trimmed", (clip) => clip.span],
  };
  for (const name of data.names) {
    const who = name === "override" ? "people" : name;
    choices[`by:${name}`] = [`dropped by ${who}`, (clip) => clip.reasons.some(([other]) => other === name)];
  }
  return choices;
}

const SHOW = showChoices();

/** Fills `show` with the choices that find clips now; the chosen one stays. */
function fillShow() {
  const chosen = form.show.value;
  const counted = Object.entries(SHOW).map(([value, [text, test]]) => [value, text, data.clips.filter(test).length]);
  const always = ["kept", "dropped", "all", chosen];
  form.show.replaceChildren(...counted
    .filter(([value, , count]) => count || always.includes(value))
    .map(([value, text, count]) => option(value, `${text} (${count})`)));
  if (chosen) form.show.value = chosen;
  else if (!data.clips.some((clip) => clip.kept)) form.show.value = "all";
}

function reasonName([name, text]) {
  return `${name}: ${text}`;
}

/** One group per filter, one option per kind of its reasons, most frequent first. */
function fillReasons() {
  const counts = data.reasons.map((_, kind) => data.clips.filter((clip) => clip.reasons.some((each) => each[2] === kind)).length);
  form.reason.append(option("", "any"));
  for (const name of data.names) {
    const group = make("optgroup");
    group.label = name;
    data.reasons.forEach((reason, kind) => {
      const [owner, text, total] = reason;
      if (owner !== name) return;
      const count = counts[kind] === total ? String(total) : `${counts[kind]} of ${total.toLocaleString("en")}`;
      group.append(option(reasonName(reason), `${text || name} (${count})`));
    });
    if (group.childElementCount) form.reason.append(group);
  }
  form.reason.parentElement.hidden = !data.reasons.length;
}

function fillForm() {
  fillShow();
  fillReasons();
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
  const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const list = [SHOW[form.show.value][1]];
  if (form.reason.value) {
    const kind = data.reasons.findIndex((reason) => reasonName(reason) === form.reason.value);
    list.push((clip) => clip.reasons.some((reason) => reason[2] === kind));
  }
  if (form.label.value) {
    const [labelFilter, name] = JSON.parse(form.label.value);
    list.push((clip) => clip.labels[labelFilter] === name);
  }
  if (words.length) list.push((clip) => words.every((each) => textOf(clip).includes(each)));
  return list;
}

function textOf(clip) {
  const labels = Object.entries(clip.labels).flat();
  const reasons = clip.reasons.flatMap(([name, text]) => [name, text]);
  const written = [...(clip.captions ?? []).flat(), ...Object.values(clip.words ?? {}), overrideText(overrideOf(clip.id))];
  return [clip.source, clip.id, ...reasons, ...labels, ...written].join(" ").toLowerCase();
}

function sortKey() {
  const by = form.sort.value;
  if (by === "length") return (clip) => clip.end - clip.start;
  if (by.startsWith("score:")) return (clip) => clip.scores[by.slice(6)] ?? Infinity;
  return null;
}

/** The filter whose reason or score is shown under each clip: the one that is sorted or searched by. */
function shownFilter() {
  const [kind, name] = [form.sort.value, form.show.value];
  if (kind.startsWith("score:")) return kind.slice(6);
  if (name.startsWith("by:")) return name.slice(3);
  return form.reason.value ? form.reason.value.split(": ")[0] : "";
}

function search() {
  const list = tests();
  const key = sortKey();
  const sign = form.order.value === "up" ? 1 : -1;
  result = data.clips.map((_, index) => index).filter((index) => list.every((test) => test(data.clips[index])));
  if (key) result.sort((a, b) => sign * (key(data.clips[a]) - key(data.clips[b])) || a - b);
  else if (sign < 0) result.reverse();
  if (!key) result.sort((a, b) => (a in thumbnails ? 0 : 1) - (b in thumbnails ? 0 : 1));
  filter = shownFilter();
  document.getElementById("count").textContent = `${result.length} ${result.length === 1 ? "clip" : "clips"}`;
  found.replaceChildren();
  grow();
}

function grow() {
  const start = found.childElementCount;
  found.append(...result.slice(start, start + PAGE).map((index) => card(index, filter, result)));
  more.hidden = found.childElementCount >= result.length;
}

function setOrder(order) {
  form.order.value = order;
  form.order.textContent = order === "up" ? "↑" : "↓";
  form.order.setAttribute("aria-label", `order: ${order === "up" ? "ascending" : "descending"}; reverse it`);
}
