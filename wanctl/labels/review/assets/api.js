// Requests to the server, and the line that says what went wrong.

const token = document.querySelector("meta[name=token]").content;

export class Refused extends Error {
  constructor(status, body) {
    super(body.error || `the server answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

async function answer(request) {
  let reply;
  try {
    reply = await request;
  } catch {
    throw new Refused(0, { error: "The server does not answer. What was saved is kept; start `wanctl data review` again." });
  }
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Refused(reply.status, body);
  return body;
}

export const read = (path, values = {}) => answer(fetch(`${path}?${new URLSearchParams(values)}`));

export const decide = (action, changes) => answer(fetch("/api/decide", {
  method: "POST",
  headers: { "Content-Type": "application/json", "X-Review-Token": token },
  body: JSON.stringify({ action, changes }),
}));

export const videoUrl = (id) => `/video/${encodeURIComponent(id)}.mp4?kept`;

let hide;
export function toast(text, kind = "bad") {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.className = kind;
  box.hidden = false;
  clearTimeout(hide);
  hide = setTimeout(() => { box.hidden = true; }, kind === "bad" ? 8000 : 2500);
}

// An element with text; texts never become markup.
export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== "") made.textContent = text;
  return made;
}
