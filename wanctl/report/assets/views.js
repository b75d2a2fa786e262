// The search as an address (#clips?show=...), and views that are saved under a name.

const FIELDS = ["text", "show", "reason", "label", "sort", "order"];
const VIEWS = "wanctl-views";
const viewName = document.getElementById("view-name");
let plain = {};

function viewValues() {
  return Object.fromEntries(FIELDS.map((name) => [name, form[name].value]));
}

/** The search as a query without what is the default; "" for the search at the start. */
function viewQuery() {
  const values = Object.entries(viewValues()).filter(([name, value]) => value !== plain[name]);
  return new URLSearchParams(values).toString();
}

/** Sets the search; what this data set does not have is left at its default. */
function applyView(query) {
  const values = { ...plain, ...Object.fromEntries(new URLSearchParams(query)) };
  setOrder(values.order === "down" ? "down" : "up");
  form.text.value = values.text;
  for (const name of ["show", "reason", "label", "sort"]) {
    if (name === "show" && values.show in SHOW && ![...form.show.options].some((each) => each.value === values.show)) {
      form.show.append(option(values.show, `${SHOW[values.show][0]} (0)`));
    }
    form[name].value = values[name];
    if (form[name].selectedIndex < 0) form[name].value = plain[name];
  }
  searchAndLink();
}

function searchAndLink() {
  search();
  const query = viewQuery();
  if (query || location.hash.startsWith("#clips?")) history.replaceState(null, "", query ? `#clips?${query}` : "#clips");
  drawViews();
}

/** Follows an address such as the links of the reasons; true where it names a search. */
function followAddress() {
  if (!location.hash.startsWith("#clips?")) return false;
  applyView(location.hash.slice("#clips?".length));
  document.getElementById("clips").scrollIntoView({ behavior: "instant" });
  return true;
}

function drawViews() {
  const now = viewQuery();
  const chips = Object.entries(stored(VIEWS, {})).map(([name, query]) => {
    const open = action(name, () => applyView(query), `view ${name}`);
    open.setAttribute("aria-pressed", String(query === now));
    return make("span", "chip", open, action("✕", () => removeView(name), `delete the view ${name}`));
  });
  if (now) chips.unshift(make("span", "chip", action("Reset", () => applyView(""), "reset the search")));
  document.getElementById("view-list").replaceChildren(...chips);
}

function removeView(name) {
  const { [name]: _, ...rest } = stored(VIEWS, {});
  store(VIEWS, rest);
  drawViews();
  viewName.focus();
}

function saveView() {
  const name = viewName.value.trim();
  if (!name) {
    viewName.focus();
    return;
  }
  store(VIEWS, { ...stored(VIEWS, {}), [name]: viewQuery() });
  viewName.value = "";
  drawViews();
}

function startViews() {
  plain = viewValues();
  document.getElementById("views").addEventListener("submit", (event) => {
    event.preventDefault();
    saveView();
  });
  document.getElementById("view-link").addEventListener("click", (event) => {
    const button = event.currentTarget;
    const link = `${location.href.split("#")[0]}#clips?${viewQuery()}`;
    copyText(link).then(() => { button.textContent = "Copied"; }, (error) => { button.textContent = error.message; });
    setTimeout(() => { button.textContent = "Copy link"; }, 2000);
  });
  addEventListener("hashchange", followAddress);
  if (!followAddress()) searchAndLink();
}
