"use strict";
/* Adds what only a script can do; the page is complete without it. Nothing here reads the network. */

/* ---- a button to copy each command ---- */

function canCopy() {
  return navigator.clipboard !== undefined || document.queryCommandSupported("copy");
}

async function copyText(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    /* No permission, or a page that came over plain http: the old way, which leaves the text selected. */
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  }
}

function addCopyButton(command) {
  const code = command.querySelector("code");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy the command " + code.textContent);
  button.addEventListener("click", async () => {
    button.textContent = await copyText(code) ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  command.append(button);
}

if (canCopy())
  document.querySelectorAll(".command").forEach(addCopyButton);

/* ---- series to zoom into: a dygraph in the place of the still chart ---- */

const steps = {
  bytes: [1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]],
  rate: [1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]],
  number: [1000, ["", "k", "M", "G", "T", "P"]],
  percent: [Infinity, ["%"]],
  duration: [1000, ["ns", "us", "ms", "s"]],
};

function valueText(unit, v) {
  if (v === null || !Number.isFinite(v))
    return "no value";
  const [base, words] = steps[unit];
  let i = 0;
  const plain = unit === "number" && Math.abs(v) < 1e5;
  while (!plain && i + 1 < words.length && Math.abs(v) >= base) {
    v /= base;
    i++;
  }
  return (String(Number(v.toPrecision(4))) + " " + words[i]).trim();
}

function xText(data, x) {
  return data.time ? new Date(x).toISOString().replace("T", " ").replace(/\.000Z$|Z$/, "") + " UTC" : String(Number(x.toPrecision(6)));
}

function palette(figure) {
  const style = getComputedStyle(figure);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    lines: [1, 2, 3, 4, 5, 6, 7, 8].map((i) => of("--line-" + i)),
    rule: of("--rule"), soft: of("--soft"),
  };
}

function showReading(reading, data, row) {
  reading.textContent = "";
  if (row === undefined) {
    reading.textContent = "Drag to zoom, double-click to see all.";
    return;
  }
  reading.append(xText(data, Number(data.rows[row][0])));
  data.labels.slice(1).forEach((label, i) => {
    const name = document.createElement("b");
    name.textContent = label.replace(/^\d+\. /, "");
    reading.append("  ·  ", name, " " + valueText(data.unit, data.rows[row][i + 1]));
  });
}

function enliven(series) {
  const data = JSON.parse(series.querySelector("script").textContent);
  if (data.time)
    data.rows.forEach((row) => { row[0] = new Date(row[0] * 1000); });
  const reading = document.createElement("p");
  const graph = document.createElement("div");
  reading.className = "reading";
  graph.className = "graph";
  series.append(reading, graph);
  series.classList.add("live");

  const options = () => {
    const colors = palette(series);
    return {
      colors: colors.lines.slice(0, data.labels.length - 1),
      gridLineColor: colors.rule, axisLineColor: colors.soft,
      rangeSelectorPlotStrokeColor: colors.lines[0], rangeSelectorPlotFillColor: colors.lines[0],
      rangeSelectorPlotFillGradientColor: colors.rule, rangeSelectorForegroundStrokeColor: colors.soft,
      rangeSelectorBackgroundStrokeColor: colors.rule,
    };
  };
  const chart = new Dygraph(graph, data.rows, {
    labels: data.labels, labelsUTC: true, legend: "never", strokeWidth: 1.6, connectSeparatedPoints: false,
    showRangeSelector: data.rows.length > 100, rangeSelectorHeight: 28, animatedZooms: false,
    labelsKMG2: data.unit === "bytes",
    axes: { y: { axisLabelFormatter: (v) => valueText(data.unit, v), axisLabelWidth: 72 } },
    highlightCallback: (event, x, points, row) => showReading(reading, data, row),
    unhighlightCallback: () => showReading(reading, data),
    ...options(),
  });
  showReading(reading, data);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.updateOptions(options()));
}

if (typeof Dygraph === "function") {
  document.querySelectorAll(".series").forEach((series) => {
    if (series.querySelector("script") === null)
      return;
    try {
      enliven(series);
    } catch (error) {
      series.classList.remove("live"); /* the still chart is as good */
      console.error(error);
    }
  });
}
