// What people decide against the filters. A page from a file keeps it in the browser until it is
// saved as overrides.json; under `wanctl data review` each decision is stored at once.

const token = document.querySelector("meta[name=wanctl-token]").content;
const EDITS = `wanctl-overrides-${data.key}`;
const filed = new Map(data.overrides.map((entry) => [entry.id, entry]));
const edits = new Map(Object.entries(token ? {} : stored(EDITS, {})));
const states = new Map(data.overrides.map((entry) => [entry.id, entry]));

/** What is decided on a clip: an entry of overrides.json, or null. */
function overrideOf(id) {
  return (edits.has(id) ? edits.get(id) : filed.get(id)) ?? null;
}

function overrideText(entry) {
  return entry ? `${entry.keep ? "keep" : "drop"}: ${entry.reason}` : "";
}

/** Whether a clip waits for the next `wanctl data select`. */
function isPending(clip) {
  return overrideText(overrideOf(clip.id)) !== (clip.override ?? "");
}

/** Every entry, those of clips that are not on this page as well. */
function allOverrides() {
  const ids = new Set([...filed.keys(), ...edits.keys()]);
  return [...ids].sort().map(overrideOf).filter(Boolean);
}

/** Whether the browser holds decisions that overrides.json does not. */
function countEdits() {
  return edits.size;
}

/** Decides on a clip; `keep` null takes the decision back. Rejects where it cannot be stored. */
async function decide(id, keep, reason) {
  const time = `${new Date().toISOString().slice(0, 19)}+00:00`;
  const entry = keep === null ? null : { id, keep, reason: reason.trim().replace(/\s+/g, " "), time };
  if (token) {
    fileOverrides(await request("POST", { id, keep, reason: entry?.reason ?? "" }));
  } else {
    for (const [other, edit] of Object.entries(stored(EDITS, {}))) edits.set(other, edit); // of other tabs
    edits.set(id, entry);
    dropSameEdits();
    store(EDITS, Object.fromEntries(edits));
  }
  document.dispatchEvent(new Event("overrides"));
}

function discardEdits() {
  edits.clear();
  store(EDITS, {});
  document.dispatchEvent(new Event("overrides"));
}

/** Forgets edits that overrides.json holds by now. */
function dropSameEdits() {
  for (const [id, entry] of edits) {
    if (overrideText(entry) === overrideText(filed.get(id))) edits.delete(id);
  }
}

async function request(method, body) {
  const answer = await fetch("/api/overrides", {
    method,
    headers: { "Content-Type": "application/json", "X-Review-Token": token },
    body: body && JSON.stringify(body),
  }).catch(() => null);
  const value = await answer?.json().catch(() => null);
  if (answer?.ok) return value;
  throw new Error(value?.error ?? "the server does not answer; start `wanctl data review` again");
}

function fileOverrides({ overrides }) {
  filed.clear();
  for (const entry of overrides) filed.set(entry.id, entry);
}

/** The text of overrides.json. */
function overridesFile() {
  const lines = allOverrides().map(({ id, keep, reason, time }) => {
    const pairs = Object.entries({ id, keep, reason, ...(time ? { time } : {}) });
    return `{${pairs.map(([key, value]) => `"${key}": ${JSON.stringify(value)}`).join(", ")}}`;
  });
  return `{"overrides": [\n${lines.join(",\n")}\n]}\n`;
}

/** The reasons that were given so far, to choose from. */
function usedReasons() {
  return [...new Set(allOverrides().map((entry) => entry.reason))].slice(0, 20);
}

dropSameEdits();
