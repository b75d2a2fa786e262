// What filters found, drawn over pictures in display pixels, and a switch for each kind of drawing.

const COLOURS = ["#ffd21f", "#ff4fa0", "#35c8ff", "#7dff6a", "#c79bff", "#ff9a3d"];
const CROP = "crop";
const MAX_LABEL = 24; // characters
const STILL = Math.round(0.4 * data.frames);
const shapes = document.getElementById("shapes").content.firstElementChild;
const [pathShape, polygonShape, textShape] = shapes.children;

/** Seconds from the start of a clip at which a frame of its sprite sheet was taken. */
function frameTime(clip, frame) {
  return ((clip.end - clip.start) * (frame + 0.5)) / data.frames;
}

function colourOf(kind) {
  return COLOURS[kind % COLOURS.length];
}

/** The drawing over a clip, as it is at the still frame; null where there is nothing to draw. */
function drawing(clip, labelSize = 0) {
  if (!clip.crop && !clip.drawings) return null;
  const svg = shapes.cloneNode();
  svg.setAttribute("viewBox", `0 0 ${clip.width} ${clip.height}`);
  const taken = [];
  if (clip.crop) svg.append(...cropShapes(clip, labelSize, taken));
  for (const [kind, points, label, from, to] of clip.drawings ?? []) {
    const parts = [outline(`found k${kind}`, points, colourOf(kind))];
    const place = label && labelSize && freePlace(points, label, labelSize, [from ?? 0, to ?? Infinity], taken, clip);
    if (place) parts.push(lettering(`k${kind}`, label.slice(0, MAX_LABEL), ...place, labelSize));
    for (const part of parts) {
      if (from !== undefined) Object.assign(part.dataset, { from, to });
      svg.append(part);
    }
  }
  seek(svg, frameTime(clip, STILL));
  return svg;
}

/** About the width of a label, as letters differ. */
function labelWidth(label, size) {
  return 0.68 * size * Math.min(label.length, MAX_LABEL);
}

/** Where a label fits, above an outline or under it, without another one at the time; else null. */
function freePlace(points, label, size, [from, to], taken, clip) {
  const [xs, ys] = [0, 1].map((odd) => points.filter((_, at) => at % 2 === odd));
  const width = labelWidth(label, size);
  const left = Math.max(0, Math.min(Math.min(...xs), clip.width - width));
  const bottoms = [Math.min(...ys) - 0.3 * size, Math.max(...ys) + 1.1 * size];
  for (const bottom of bottoms) {
    const box = { left, right: left + width, top: bottom - size, bottom, from, to };
    const meets = (other) => box.left < other.right && other.left < box.right && box.top < other.bottom
      && other.top < box.bottom && box.from < other.to && other.from < box.to;
    if (box.top < 0 || bottom > clip.height || taken.some(meets)) continue;
    taken.push(box);
    return [left, bottom];
  }
  return null;
}

/** The part that is cut off, dimmed; the crop of each filter as a dashed line. */
function cropShapes(clip, labelSize, taken) {
  const [x, y, width, height] = clip.crop;
  const cut = pathShape.cloneNode();
  cut.setAttribute("class", `cut k-${CROP}`);
  cut.setAttribute("d", `M0 0H${clip.width}V${clip.height}H0Z${rectangle(x, y, width, height)}`);
  const edge = outline(`crop k-${CROP}`, corners(x, y, width, height));
  const single = (clip.crops ?? []).flatMap(([name, ...box]) => {
    const line = outline(`single k-${CROP}`, corners(...box));
    if (!labelSize) return [line];
    // inside the upper left corner
    const [left, bottom] = [box[0] + labelSize / 3, box[1] + 1.2 * labelSize];
    taken.push({ left, right: left + labelWidth(name, labelSize), top: bottom - labelSize, bottom, from: 0, to: Infinity });
    return [line, lettering(`k-${CROP}`, name, left, bottom, labelSize)];
  });
  return [cut, edge, ...single];
}

function rectangle(x, y, width, height) {
  return `M${x} ${y}h${width}v${height}h${-width}Z`;
}

function corners(x, y, width, height) {
  return [x, y, x + width, y, x + width, y + height, x, y + height];
}

function outline(name, points, colour) {
  const polygon = polygonShape.cloneNode();
  polygon.setAttribute("class", name);
  polygon.setAttribute("points", points.join(" "));
  if (colour) polygon.style.setProperty("--c", colour);
  return polygon;
}

function lettering(name, text, x, y, size) {
  const label = textShape.cloneNode();
  label.setAttribute("class", name);
  label.setAttribute("x", x);
  label.setAttribute("y", y);
  label.style.fontSize = `${size}px`;
  label.textContent = text;
  return label;
}

/** Shows what is there at a time, in seconds from the start of the clip. */
function seek(svg, time) {
  for (const shape of svg.querySelectorAll("[data-from]")) {
    shape.classList.toggle("off", time < Number(shape.dataset.from) || time >= Number(shape.dataset.to));
  }
}

const drawn = [[CROP, CROP], ...data.kinds.map((kind, index) => [index, kind])];
const hidden = new Set(stored("wanctl-hidden", []));

/** A checkbox per kind of drawing; all sets of checkboxes on the page agree. */
function switches() {
  const box = make("fieldset", "switches", make("legend", "", "draw"));
  for (const [key, kind] of drawn) {
    const input = make("input");
    Object.assign(input, { type: "checkbox", checked: !hidden.has(kind), name: `draw-${key}` });
    input.addEventListener("change", () => toggle(kind, input.checked));
    const swatch = make("i", key === CROP ? "swatch crop" : "swatch");
    if (key !== CROP) swatch.style.setProperty("--c", colourOf(key));
    box.append(make("label", "", input, swatch, kind));
  }
  return box;
}

function toggle(kind, on) {
  if (on) hidden.delete(kind);
  else hidden.add(kind);
  store("wanctl-hidden", [...hidden]);
  applySwitches();
}

function applySwitches() {
  for (const [key, kind] of drawn) {
    document.documentElement.classList.toggle(`no-${key}`, hidden.has(kind));
    for (const input of document.getElementsByName(`draw-${key}`)) input.checked = !hidden.has(kind);
  }
}

for (const [key] of drawn) {
  document.styleSheets[0].insertRule(`.no-${key} .k${key === CROP ? "-" : ""}${key} { display: none; }`);
}
