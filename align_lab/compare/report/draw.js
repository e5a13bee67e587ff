// Charts: specs and data come from the page, written in Python. Here they are only filtered and drawn.
const content = JSON.parse(document.getElementById("content").textContent);
const chosen = new Set(content.arms); // arms that are shown
const drawn = new Map(); // figure -> {name, view, finalize}
const decoded = new Map(); // data set -> rows
let withSeeds = true;
let withBands = document.getElementById("bands")?.checked ?? true;

// Rows of a data set, which the page holds column by column.
function rowsOf(name) {
  if (!decoded.has(name)) {
    const columns = Object.entries(content.data[name]);
    const length = columns.length ? columns[0][1].length : 0;
    const row = (i) => Object.fromEntries(columns.map(([key, values]) => [key, values[i]]));
    decoded.set(name, Array.from({ length }, (_, i) => row(i)));
  }
  return decoded.get(name);
}

// Rows that a chart draws: those that meet its conditions and belong to arms that are shown.
function select(chart, name) {
  if (name === "evaluations" && !withSeeds) return [];
  if (name === "areas" && !withBands) return [];
  const conditions = Object.entries(chart.rows[name]);
  const ofShownArms = (row) => ["arm", "a", "b"].every((key) => row[key] === undefined || chosen.has(row[key]));
  return rowsOf(name === "areas" ? "bands" : name).filter((row) => ofShownArms(row) && conditions.every(([key, value]) => row[key] === value));
}

// The chart that a figure shows now: {ids} of choosers in its name stand for their values.
function nameOf(figure) {
  return figure.dataset.chart.replace(/\{([\w-]+)\}/g, (_, id) => document.getElementById(id).value);
}

// Is it in a part of the page that is folded? It is drawn when a reader opens that, or before printing.
function isFolded(figure) {
  return Boolean(figure.closest("details.part:not([open])"));
}

async function draw(figure) {
  if (isFolded(figure)) return;
  const name = nameOf(figure);
  const chart = content.charts[name];
  const canvas = figure.querySelector(".canvas");
  drawn.get(figure)?.finalize();
  drawn.delete(figure);
  const place = document.createElement("div"); // Vega sets a role on it; the canvas around it is an image with a description
  canvas.replaceChildren(place);
  canvas.setAttribute("aria-label", chart ? chart.alt : "No chart for this choice");
  figure.classList.toggle("none", !chart);
  if (!chart) {
    figure.dataset.drawn = "true";
    return;
  }
  const datasets = Object.fromEntries(Object.keys(chart.rows).map((key) => [key, select(chart, key)]));
  const result = await vegaEmbed(place, { ...chart.spec, datasets, config: content.config }, {
    mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false,
    logLevel: 1, // errors; an arm that is filtered out leaves an empty scale, which is no reason to warn
    tooltip: { disableDefaultStyle: true, theme: "page", offsetY: 14 },
  });
  if (nameOf(figure) !== name) return result.finalize(); // another choice was made meanwhile
  grow(canvas);
  growAgain(canvas);
  figure.dataset.drawn = "true";
  drawn.set(figure, { name, view: result.view, finalize: () => result.finalize() });
  fillNumbers(figure);
}

// Names may be wider than Vega measured them: the drawing takes the room that its texts need, and nothing is cut.
function grow(place) {
  const svg = place.querySelector("svg");
  const box = svg?.getBBox();
  if (!box?.width) return; // it is not there, or not shown
  const { x, y, width, height } = svg.viewBox.baseVal;
  const [left, top] = [Math.min(x, Math.floor(box.x)), Math.min(y, Math.floor(box.y))];
  const [right, bottom] = [Math.max(x + width, Math.ceil(box.x + box.width)), Math.max(y + height, Math.ceil(box.y + box.height))];
  const whole = `${left} ${top} ${right - left} ${bottom - top}`;
  if (svg.getAttribute("viewBox") === whole) return;
  svg.setAttribute("viewBox", whole);
  svg.setAttribute("width", right - left);
  svg.setAttribute("height", bottom - top);
}

// Vega sizes its drawing anew when the window changes: it grows again as soon as that is drawn.
function growAgain(place) {
  const svg = place.querySelector("svg");
  if (svg) new MutationObserver(() => requestAnimationFrame(() => grow(place))).observe(svg, { attributeFilter: ["viewBox"] });
}

// After arms were chosen: new data for the charts that are there.
async function redraw() {
  for (const [figure, { name, view }] of drawn) {
    const chart = content.charts[name];
    for (const key of Object.keys(chart.rows)) view.data(key, select(chart, key));
    await view.resize().runAsync();
    grow(figure);
    fillNumbers(figure);
  }
}

// One after the other, so that the page answers meanwhile.
async function drawAll(part = document) {
  for (const figure of part.querySelectorAll("figure[data-chart]")) {
    if (!drawn.has(figure)) await draw(figure);
    await new Promise((resolve) => setTimeout(resolve));
  }
}
