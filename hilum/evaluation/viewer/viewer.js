"use strict";
const $ = id => document.getElementById(id);
const COLOURS = {prediction: "#e69f00", reference: "#00c08b"};
const CHOSEN = "#56b4e9";
const COLUMNS = [
  ["id", "node", 0], ["region", "region", 0], ["status", "status", 0], ["reference", "reference", 0],
  ["station", "station", 0],
  ["volume_ml", "ml", 2],
  ["short_axis_mm", "short mm", 1], ["long_axis_mm", "long mm", 1], ["size_class", "size", 0],
  ["suv_max", "SUVmax", 1], ["suv_mean", "SUVmean", 1], ["suv_peak", "SUVpeak", 1],
  ["mtv_ml", "MTV ml", 2], ["tlg", "TLG", 1], ["hu_mean", "HU", 0],
  ["probability", "probability", 2], ["uncertainty", "uncertainty", 3], ["slice", "slice", 0],
];
const S = {cases: [], index: 0, info: null, slice: 0, node: null, windows: {}, panes: [],
  busy: false, again: false, whole: false, known: new Map()};

async function json(path) {
  const answer = await fetch(path);
  const value = await answer.json().catch(() => ({error: "the viewer has ended"}));
  if (!answer.ok) throw new Error(value.error || answer.statusText);
  return value;
}

// Regions of a mask follow a colon: "prediction: core".
function side(who) { return who.split(":")[0]; }

function say(text) { $("message").textContent = text; }

function remember(key, make) {
  let found = S.known.get(key);
  if (!found) {
    found = make();
    S.known.set(key, found);
    found.catch(() => S.known.delete(key));
    if (S.known.size > 150) S.known.delete(S.known.keys().next().value);
  }
  return found;
}

function picture(layer, slice) {
  const names = layer === "fused" ? ["ct", "pet"] : [layer];
  const query = names.map(name => `${name}=${S.windows[name].join(",")}`).join("&");
  const path = `${S.index}/slice/${encodeURIComponent(layer)}/${slice}.png?${query}`;
  return remember(path, async () => {
    const image = new Image();
    image.src = path;
    await image.decode();
    return image;
  });
}

function outlines(slice) {
  const path = `${S.index}/contours/${slice}.json`;
  return remember(path, () => json(path));
}

async function draw() {
  if (S.busy) { S.again = true; return; }
  S.busy = true;
  const {index, slice} = S;
  try {
    const images = await Promise.all(S.panes.map(pane => picture(pane.name, slice)));
    const lines = await outlines(slice);
    if (index === S.index) {
      S.panes.forEach((pane, n) => paint(pane.canvas, images[n], lines));
      document.body.dataset.drawn = `${index}/${slice}`;
      say("");
    }
  } catch (error) { say(String(error.message || error)); }
  S.busy = false;
  if (S.again) { S.again = false; draw(); return; }
  for (const step of [1, -1, 2]) {
    const near = S.slice + step;
    if (S.info && near >= 0 && near < S.info.shape[0]) {
      S.panes.forEach(pane => picture(pane.name, near).catch(() => 0));
      outlines(near).catch(() => 0);
    }
  }
}

function box() {
  const [, height, width] = S.info.shape;
  return S.whole ? [0, 0, width, height] : S.info.body;
}

function fit() {
  const [left, top, right, bottom] = box(), [, rowMm, columnMm] = S.info.spacing;
  const aspect = ((right - left) * columnMm) / ((bottom - top) * rowMm);
  // The table stays in sight below.
  S.panes.forEach(pane => { pane.figure.style.maxWidth = `calc(60vh * ${aspect})`; });
  return aspect;
}

function paint(canvas, image, lines) {
  const [left, top, right, bottom] = box();
  const wide = canvas.clientWidth * (window.devicePixelRatio || 1), tall = wide / fit();
  canvas.width = Math.round(wide);
  canvas.height = Math.round(tall);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  const across = right - left, down = bottom - top;
  pen.drawImage(image, left, top, across, down, 0, 0, canvas.width, canvas.height);
  if (!$("outline").checked) return;
  const x = canvas.width / across, y = canvas.height / down;
  pen.setTransform(1, 0, 0, 1, -left * x, -top * y);
  for (const [who, nodes] of Object.entries(lines)) {
    for (const [number, edges] of Object.entries(nodes)) {
      // Missed nodes of the reference have an R before their number.
      const first = side(S.info.marked[0]) === side(who);
      const chosen = S.node === (first ? number : `R${number}`);
      pen.strokeStyle = chosen ? CHOSEN : COLOURS[side(who)] || "#cc79a7";
      pen.lineWidth = (chosen ? 2.5 : 1.5) * (window.devicePixelRatio || 1);
      pen.beginPath();
      for (const [a, b, c, d] of edges) { pen.moveTo(a * x, b * y); pen.lineTo(c * x, d * y); }
      pen.stroke();
    }
  }
}

function go(slice, node = S.node) {
  if (!S.info) return;
  S.slice = Math.max(0, Math.min(S.info.shape[0] - 1, Math.round(slice)));
  S.node = node;
  $("slider").value = S.slice;
  $("where").textContent = `slice ${S.slice + 1} of ${S.info.shape[0]}` +
    (node === null ? "" : `, node ${node}`);
  for (const row of $("nodes").tBodies[0].rows) {
    row.setAttribute("aria-selected", String(row.dataset.node === node));
  }
  history.replaceState(null, "", `#case=${S.index}&slice=${S.slice}` +
    (node === null ? "" : `&node=${node}`));
  draw();
}

function visit(step) {
  const nodes = S.info ? S.info.nodes : [];
  if (!nodes.length) return;
  const at = nodes.findIndex(row => String(row.id) === S.node);
  const next = nodes[(at < 0 ? (step > 0 ? 0 : -1) : at + step + nodes.length) % nodes.length] ||
    nodes[nodes.length - 1];
  go(next.slice, String(next.id));
}

function cell(row, key, digits) {
  const value = row[key];
  if (value === undefined || value === null) return "";
  if (key === "slice") return String(value + 1);
  return typeof value === "number" && digits ? value.toFixed(digits) :
    typeof value === "number" ? String(Math.round(value)) : String(value);
}

function element(tag, text = "", more = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  return Object.assign(made, more);
}

function table() {
  const {nodes} = S.info, sheet = $("nodes");
  const columns = COLUMNS.filter(([key]) => nodes.some(row => row[key] !== undefined));
  sheet.caption.textContent = nodes.length ? "Nodes; a click shows one" : "No nodes";
  const head = element("tr");
  head.append(...columns.map(([, title]) => element("th", title, {scope: "col"})));
  sheet.tHead.replaceChildren(head);
  sheet.tBodies[0].replaceChildren(...nodes.map(row => {
    const line = element("tr", "", {tabIndex: 0});
    line.dataset.node = row.id;
    line.append(...columns.map(([key, , digits]) => element("td", cell(row, key, digits))));
    line.addEventListener("click", () => go(row.slice, String(row.id)));
    line.addEventListener("keydown", event => {
      if (event.key === "Enter") go(row.slice, String(row.id));
    });
    return line;
  }));
}

function controls() {
  const boxes = S.info.layers.map(layer => {
    const box = element("label", `${layer.title} `), choose = element("select");
    choose.id = `window-${layer.name}`;
    for (const [name, ends] of Object.entries(layer.presets)) {
      const range = ends.map(end => +end.toFixed(2)).join(" to ");
      choose.append(element("option", name === range ? name : `${name} (${range})`,
        {value: ends.join(",")}));
    }
    const kept = S.windows[layer.name];
    const options = [...choose.options].map(option => option.value);
    const value = kept && options.includes(kept.join(",")) ? kept : layer.window;
    S.windows[layer.name] = value;
    choose.value = value.join(",");
    choose.addEventListener("change", () => {
      S.windows[layer.name] = choose.value.split(",").map(Number);
      draw();
    });
    box.append(choose, ` ${layer.unit}`);
    return box;
  });
  $("windows").replaceChildren(...boxes);
  $("legend").replaceChildren(...S.info.marked.flatMap(who => {
    const spot = element("span", "", {className: "swatch"});
    spot.style.background = COLOURS[side(who)] || "#cc79a7";
    return [spot, `${who} `];
  }));
}

function panes() {
  const titles = S.info.layers.map(layer => [layer.name, layer.title]);
  if (S.info.fused) titles.splice(2, 0, ["fused", "PET over CT"]);
  S.panes = titles.map(([name, title]) => {
    const figure = element("figure"), canvas = element("canvas");
    canvas.dataset.layer = name;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title}, axial slice`);
    canvas.addEventListener("click", event => {
      if (event.shiftKey) act("add", {place: pointed(event, canvas)});
    });
    figure.append(element("figcaption", title), canvas);
    return {name, canvas, figure};
  });
  $("panes").replaceChildren(...S.panes.map(pane => pane.figure));
  fit();
}

async function open(index, slice = null, node = null) {
  S.index = index;
  S.info = null;
  S.known.clear();
  $("case").value = String(index);
  say("reading ...");
  try {
    const info = await json(`${index}/case.json`);
    if (S.index !== index) return;
    S.info = info;
  } catch (error) {
    $("panes").replaceChildren();
    $("nodes").tBodies[0].replaceChildren();
    S.panes = [];
    say(String(error.message || error));
    return;
  }
  say("");
  $("edit").hidden = !S.info.editable;
  controls();
  panes();
  table();
  $("slider").max = S.info.shape[0] - 1;
  if (S.info.nodes.length && slice === null && node === null) node = String(S.info.nodes[0].id);
  const row = S.info.nodes.find(one => String(one.id) === node);
  go(slice ?? (row ? row.slice : S.info.first), row ? node : null);
}

async function act(what, more = {}) {
  if (!S.info || !S.info.editable) return;
  const {index} = S, at = S.info.nodes.findIndex(row => String(row.id) === S.node);
  const asked = {what, ...more};
  if (!["add", "undo"].includes(what)) asked.node = Number(S.node ?? NaN);
  const answer = await fetch(`${index}/act`, {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(asked),
  });
  const info = await answer.json().catch(() => ({error: "the viewer has ended"}));
  if (!answer.ok) { say(info.error || answer.statusText); return; }
  if (S.index !== index) return;
  S.info = info;
  for (const key of [...S.known.keys()]) if (key.includes("/contours/")) S.known.delete(key);
  table();
  const ids = info.nodes.map(row => String(row.id));
  let node = S.node;
  if (what === "add") node = ids[ids.length - 1];
  // On to the next that is to be decided about, once this one is.
  const next = info.nodes.find((row, n) => n >= at && row.status === "to decide") ||
    info.nodes.find(row => row.status === "to decide");
  if (what === "accept" || what === "reject") {
    const row = next || info.nodes[Math.max(0, Math.min(at, ids.length - 1))];
    if (row) { go(row.slice, String(row.id)); return; }
    node = null;
  }
  go(S.slice, ids.includes(node) ? node : null);
}

function pointed(event, canvas) {
  const [left, top, right, bottom] = box(), [, height, width] = S.info.shape;
  const place = canvas.getBoundingClientRect();
  const column = left + (event.clientX - place.left) / place.width * (right - left);
  const row = top + (event.clientY - place.top) / place.height * (bottom - top);
  // A picture has the patient's right at the left and the front at the top.
  return [S.slice, height - 1 - Math.floor(row), width - 1 - Math.floor(column)];
}

const KEYS = {
  a: () => act("accept"), x: () => act("reject"), u: () => act("undo"),
  "+": () => act("grow"), "=": () => act("grow"), "-": () => act("shrink"),
  ArrowUp: () => go(S.slice + 1), ArrowDown: () => go(S.slice - 1),
  PageUp: () => go(S.slice + 10), PageDown: () => go(S.slice - 10),
  Home: () => go(0), End: () => go(Infinity),
  n: () => visit(1), p: () => visit(-1),
  c: () => { $("outline").checked = !$("outline").checked; draw(); },
  z: () => { S.whole = !S.whole; draw(); },
  ".": () => open((S.index + 1) % S.cases.length),
  ",": () => open((S.index + S.cases.length - 1) % S.cases.length),
};

async function start() {
  const list = await json("cases.json");
  S.cases = list.cases;
  $("title").textContent = list.title;
  $("case").replaceChildren(...list.cases.map((one, n) =>
    element("option", one.about ? `${one.id}: ${one.about}` : one.id, {value: String(n)})));
  $("case").addEventListener("change", () => open(Number($("case").value)));
  $("slider").addEventListener("input", () => go(Number($("slider").value)));
  $("outline").addEventListener("change", draw);
  $("panes").addEventListener("wheel", event => {
    event.preventDefault();
    if (event.deltaY) go(S.slice - Math.sign(event.deltaY));
  }, {passive: false});
  document.addEventListener("keydown", event => {
    const typing = ["SELECT", "INPUT"].includes(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  for (const button of $("edit").querySelectorAll("button")) {
    button.addEventListener("click", () => act(button.dataset.what));
  }
  window.addEventListener("resize", () => { if (S.info) draw(); });
  const asked = new URLSearchParams(location.hash.slice(1));
  const number = key => asked.has(key) ? Number(asked.get(key)) : null;
  await open(Math.min(number("case") ?? 0, S.cases.length - 1), number("slice"), asked.get("node"));
}
start().catch(error => say(String(error.message || error)));
