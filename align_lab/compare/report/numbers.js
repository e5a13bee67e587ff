// The numbers of a chart as a table, made when a reader opens it. Everything is set as text.
const MOST_LINES = 400;

// Decimals for a column: none for whole numbers, else about three significant digits.
function placesOf(values) {
  const numbers = values.filter((value) => typeof value === "number");
  if (numbers.every(Number.isInteger)) return 0;
  return Math.max(...numbers.map(Math.abs)) < 10 ? 3 : 1;
}

function shown(value, places) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Math.abs(value) >= 1e9) {
    const [head, power] = value.toExponential(2).split("e+");
    return `${head} × 10${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`.replace("-", "−");
  }
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }).replace("-", "−");
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The rows as they are, a column a field.
function listed(columns, rows) {
  const places = columns.map(([key]) => placesOf(rows.map((row) => row[key])));
  const lines = rows.map((row) => columns.map(([key], i) => shown(row[key], places[i])));
  return { headings: columns.map(([, heading]) => heading), lines };
}

// A line a value of x and a column an arm.
function byArm({ row: [x, heading], cell: [mean, low, high] }, rows) {
  const present = new Set(rows.map((row) => row.arm));
  const arms = content.arms.filter((arm) => present.has(arm));
  const at = new Map();
  for (const row of rows) {
    if (!at.has(row[x])) at.set(row[x], new Map());
    at.get(row[x]).set(row.arm, row);
  }
  const [across, places] = [placesOf([...at.keys()]), placesOf(rows.map((row) => row[mean]))];
  const number = (value) => shown(value, places);
  const cell = (row) => row ? `${number(row[mean])} (${number(row[low])} to ${number(row[high])})` : "–";
  const lines = [...at].sort((a, b) => a[0] - b[0])
    .map(([value, row]) => [shown(value, across), ...arms.map((arm) => cell(row.get(arm)))]);
  return { headings: [heading, ...arms], lines };
}

function tableOf(chart) {
  const rows = select(chart, chart.numbers.data);
  const { headings, lines } = chart.numbers.columns ? listed(chart.numbers.columns, rows) : byArm(chart.numbers, rows);
  const cut = lines.length > MOST_LINES ? ` The first ${MOST_LINES} of ${lines.length} lines; all are in the CSV files.` : "";
  const table = element("table");
  const caption = element("caption");
  caption.append(element("div", `${chart.title}.${cut}`));
  const head = element("tr");
  head.append(...headings.map((heading) => element("th", heading, { scope: "col", class: "number" })));
  const body = element("tbody");
  for (const [first, ...rest] of lines.slice(0, MOST_LINES)) {
    const line = element("tr");
    line.append(element("th", first, { scope: "row" }), ...rest.map((text) => element("td", text, { class: "number" })));
    body.append(line);
  }
  table.append(caption, element("thead"), body);
  table.tHead.append(head);
  return table;
}

// Called after a chart was drawn or its details were opened.
function fillNumbers(figure) {
  const details = figure.querySelector("details.numbers");
  const chart = content.charts[nameOf(figure)];
  if (!details?.open || !chart?.numbers.data) return;
  const box = element("div", undefined, { class: "scroll", role: "region", tabindex: "0", "aria-label": chart.title });
  box.append(tableOf(chart));
  details.querySelector(".scroll")?.remove();
  details.append(box);
}
