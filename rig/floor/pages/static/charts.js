"use strict";
// Control charts out of the page's data, by uPlot.
const chart = JSON.parse(document.getElementById("chart").textContent);
const none = { show: false };
function draw(id, part, limits) {
  const place = document.getElementById(id), n = part.values.length, x = part.values.map((_, k) => k + 1);
  const flat = (value) => Array(n).fill(value), broken = Array(n).fill(null);
  for (const signal of part.signals) broken[signal.index] = part.values[signal.index];
  const rows = [x, part.values, broken, flat(part.centre), flat(part.lower), flat(part.upper)];
  const series = [{}, { label: "x", stroke: "#1d4e89", points: { show: true, size: 6 } },
    { label: "!", stroke: "#c00d1e", paths: () => null, points: { show: true, size: 13, fill: "#c00d1e" } },
    { label: "CL", stroke: "#0a7d32", points: none }, { label: "LCL", stroke: "#a35c00", dash: [6, 4], points: none }, { label: "UCL", stroke: "#a35c00", dash: [6, 4], points: none }];
  for (const limit of limits || []) if (limit !== null) { rows.push(flat(limit)); series.push({ label: "T", stroke: "#c00d1e", dash: [2, 3], points: none }); }
  const plot = new uPlot({ width: place.clientWidth, height: 270, legend: { live: false }, scales: { x: { time: false } }, axes: [{ values: (_, ticks) => ticks.map((v) => (Number.isInteger(v) ? v : "")) }, { size: 70 }], series }, rows, place);
  addEventListener("resize", () => plot.setSize({ width: place.clientWidth, height: 270 }));
  place.dataset.points = n;
}
draw("upper", chart.upper, chart.limits);
draw("lower", chart.lower);
