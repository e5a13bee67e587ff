// Filters and choosers: they act on charts, tables and samples.
const form = document.getElementById("filter");

// Hide what belongs to an arm that is not shown, and what a chooser has not chosen.
function show() {
  for (const part of document.querySelectorAll("[data-arms], [data-chosen-by]")) {
    const places = part.dataset.arms ? part.dataset.arms.split(" ") : [];
    const armsShown = places.every((place) => chosen.has(content.arms[place]));
    const by = part.dataset.chosenBy;
    part.hidden = !armsShown || (by !== undefined && document.getElementById(by).value !== part.dataset.value);
  }
  const output = document.getElementById("shown");
  if (output) output.value = chosen.size === content.arms.length ? "" : `${chosen.size} of ${content.arms.length} shown`;
}

function readFilter() {
  const boxes = [...form.elements.arm instanceof RadioNodeList ? form.elements.arm : [form.elements.arm].filter(Boolean)];
  chosen.clear();
  for (const box of boxes) if (box.checked) chosen.add(content.arms[box.value]);
  show();
  return redraw();
}

function setAll(checked) {
  for (const box of form.querySelectorAll("input")) box.checked = checked;
  return readFilter();
}

function step(by) {
  const prompt = document.getElementById("prompt");
  prompt.selectedIndex = (prompt.selectedIndex + by + prompt.options.length) % prompt.options.length;
  show();
}

function listen() {
  if (!form) return;
  form.addEventListener("change", readFilter);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => setAll(true));
  document.getElementById("none").addEventListener("click", () => setAll(false));
  for (const chooser of document.querySelectorAll("[data-chooser]")) {
    chooser.addEventListener("change", () => {
      show();
      for (const figure of document.querySelectorAll(`figure[data-chart*="{${chooser.id}}"]`)) draw(figure);
    });
  }
  document.getElementById("seeds")?.addEventListener("change", (event) => {
    withSeeds = event.target.checked;
    redraw();
  });
  document.getElementById("bands")?.addEventListener("change", (event) => {
    withBands = event.target.checked;
    redraw();
  });
  document.getElementById("previous")?.addEventListener("click", () => step(-1));
  document.getElementById("next")?.addEventListener("click", () => step(1));
  for (const part of document.querySelectorAll("details.part")) {
    part.addEventListener("toggle", () => drawAll(part));
  }
  for (const details of document.querySelectorAll("details.numbers")) {
    details.addEventListener("toggle", () => fillNumbers(details.closest("figure")));
  }
}

// Whoever follows a link to a part wants to see it.
function openLinked() {
  const part = document.getElementById(location.hash.slice(1));
  if (part instanceof HTMLDetailsElement) part.open = true;
}

// On paper the lists are open, and their charts are there: drawing waits for promises alone, which are kept before the
// page is laid out for paper.
function printWhole() {
  const closed = [...document.querySelectorAll("details:not(.numbers):not(.rest):not([open])")];
  for (const details of closed) details.open = true;
  for (const figure of document.querySelectorAll("figure[data-chart]")) if (!drawn.has(figure)) draw(figure);
  window.addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }), { once: true });
}

window.addEventListener("beforeprint", printWhole);
window.addEventListener("hashchange", openLinked);
listen();
show();
openLinked();
drawAll().then(() => {
  document.documentElement.dataset.drawn = "true";
});
