"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

const $ = (id) => document.getElementById(id);

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// What the reader has put into the page. It stays in this browser; in the frame of a page that keeps
// it (rig serve), it is given as the frame's name and handed over with each change. A page that may
// keep nothing (a private window) forgets it.
const kept = (() => {
  const key = `rig-report/${data.id || document.title}`;
  let state = {};
  try { state = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* nothing is kept */ }
  try { state = JSON.parse(window.name)["rig-report"] || state; } catch { /* in no such frame */ }
  return {
    get: (name, otherwise) => (name in state ? state[name] : otherwise),
    set(name, value) {
      state[name] = value;
      try { localStorage.setItem(key, JSON.stringify(state)); } catch { /* nothing is kept */ }
      if (parent !== window) parent.postMessage({ "rig-report": state }, "*");
    },
  };
})();

// Dark where the system is, until the reader says otherwise.
function theme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = kept.get("theme", system.matches ? "dark" : "light") === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    if (button) button.setAttribute("aria-pressed", String(dark));
    dispatchEvent(new Event("themechange"));
  };
  if (button) button.addEventListener("click", () => { kept.set("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark"); show(); });
  system.addEventListener("change", show);
  addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; dispatchEvent(new Event("themechange")); });
  addEventListener("afterprint", show);
  show();
}

function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Shortest text with about four significant digits.
function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size >= 5 || size < -4) return value.toExponential(2);
  return value.toFixed(Math.max(0, digits - 1 - size));
}

// Round numbers between two ends, about `count` of them, with the digits that tell them apart.
function ticks(low, high, count = 8) {
  const least = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= 0.999 * least);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    found.push({ value: k * step, text: (k * step).toFixed(digits).replace("-", "−") });
  }
  return found;
}

function colour(table, fraction) {
  const i = Math.max(0, Math.min(255, Math.round(fraction * 255)));
  return [table[3 * i], table[3 * i + 1], table[3 * i + 2]];
}

function finiteQuantiles(values, low, high) {
  const finite = Float32Array.from(values.filter((v) => Number.isFinite(v))).sort();
  if (finite.length === 0) return [0, 1];
  const at = (q) => finite[Math.min(finite.length - 1, Math.round(q * (finite.length - 1)))];
  const [a, b] = [at(low), at(high)];
  return b > a ? [a, b] : [a - 0.5e-3, a + 0.5e-3];
}

// Paint a map of floats; NaN stays grey.
function paint(canvas, values, width, height, table, low, high) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const v = values[i];
    const [r, g, b] = Number.isFinite(v) ? colour(table, (v - low) / (high - low)) : [176, 182, 190];
    image.data.set([r, g, b, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return image;
}

function paintBar(canvas, table) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  for (let i = 0; i < 256; i++) {
    context.fillStyle = `rgb(${colour(table, i / 255).join(",")})`;
    context.fillRect(i, 0, 1, 1);
  }
}

// Leaves of a nested object as rows "a.b.c | value".
function provenanceRows(value, path = "") {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, item]) => provenanceRows(item, path ? `${path}.${key}` : key));
  }
  const short = (v) => (typeof v === "number" && !Number.isInteger(v) ? Number(v.toPrecision(6)) : v);
  const text = Array.isArray(value) ? JSON.stringify(value.map(short)) : String(short(value));
  return [node("tr", {}, node("td", { class: "path" }, path), node("td", {}, text.length > 400 ? text.slice(0, 400) + " …" : text))];
}
