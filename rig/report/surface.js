// The report of a surface: what stands where.
theme($("theme"));
$("print").addEventListener("click", () => print());
$("title").textContent = data.title;
$("subtitle").textContent = data.subtitle;
if (data.unfit) { $("unfit").textContent = `Unfit for metrology: ${data.unfit}`; $("unfit").hidden = false; }
for (const tile of data.tiles) $("tiles").append(node("div", { class: "tile" }, node("b", {}, tile.value), node("span", {}, tile.name)));

// A value to the second digit of its sigma, as words.py has it.
function rounded(value, sigma) {
  if (!Number.isFinite(value)) return "–";
  if (!Number.isFinite(sigma) || sigma <= 0) return number(value);
  const digits = Math.max(0, 1 - Math.floor(Math.log10(sigma)));
  return `${value.toFixed(digits)} ± ${sigma.toFixed(digits)}`.replaceAll("-", "−");
}

// A length in the plane, to a tenth of a pixel.
const planeDigits = Math.max(0, Math.ceil(1 - Math.log10(data.map.pixel_mm) - 1e-9));
const across = (mm) => (Number.isFinite(mm) ? mm.toFixed(planeDigits).replace(/^-(?=[0.]+$)/, "").replace("-", "−") : "–");

const shape = { width: data.map.width, height: data.map.height, levels: data.map.levels, tile: data.map.tile };
const maps = Object.fromEntries(Object.entries(data.map.codings).map(([name, coding]) => [name, new TiledMap(name, coding, shape)]));
const flagTable = (() => {
  const table = new Uint8Array(768).fill(222);
  for (let bits = 0; bits < 256; bits++) { const kind = data.flags.find((flag) => bits & flag.bit); if (kind) table.set(kind.colour, 3 * bits); }
  return table;
})();
const grey = Uint8Array.from({ length: 768 }, (_, i) => i / 3);

function readout(u, v) {
  const z = maps.height.between(u, v), sigma = maps.sigma.between(u, v);
  if (!Number.isFinite(z)) { $("readout").textContent = "no surface here"; return; }
  const [x, y] = rays(u, v, z);
  $("readout").textContent = `x ${across(x)} mm · y ${across(y)} mm · height ${rounded(z, sigma / 1000)} mm`;
}

const heightLayer = new Layer(maps.height, data.viridis, data.map.scales.height);
const heightView = new MapView($("height-view"), "Height, mm", heightLayer, { lines, said: data.said });
const sigmaView = new MapView($("sigma-view"), `Uncertainty (1σ) of height ${data.map.absolute ? "above the stage" : "without its mean"}, µm`, new Layer(maps.sigma, data.magma, data.map.scales.sigma));
if (!data.map.sigma_known) {
  $("sigma-view").replaceChildren(node("p", { class: "soft" }, "No uncertainty was estimated for this result."));
  look.views.splice(look.views.indexOf(sigmaView), 1);
}
new MapView($("flags-view"), "What was clipped, shadowed or left out", new Layer(maps.flags, flagTable, { low: 0, high: 255 }));
const reliefLayer = new Relief(maps.height, grey, {});
$("layer").addEventListener("change", () => {
  heightView.layer = $("layer").value === "relief" ? reliefLayer : heightLayer;
  heightView.caption.textContent = $("layer").value === "relief" ? "Relief: slopes under a light from the upper left" : "Height, mm";
  heightView.soon();
});
$("zoom-in").addEventListener("click", () => heightView.zoomBy(1.5));
$("zoom-out").addEventListener("click", () => heightView.zoomBy(1 / 1.5));
$("zoom-fit").addEventListener("click", () => heightView.fit());
$("zoom-full").addEventListener("click", () => heightView.moveTo(look.u, look.v, Math.max(heightView.least, 1)));
$("add-profile").addEventListener("click", () => lines.add());
$("add-note").addEventListener("click", () => notes.arm(!notes.placing));
heightView.fit();
for (const view of look.views) view.stage.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === view.stage) notes.placed(look.u, look.v); });
for (const map of [maps.height, maps.sigma]) map.listeners.push(() => chart.soon());
$("window").value = kept.get("window", roundDown((data.map.width * data.map.pixel_mm) / 40));
$("window").addEventListener("input", () => { kept.set("window", $("window").value); chart.soon(); });
$("csv").addEventListener("click", () => saved(`${data.title}-profiles.csv`, "text/csv", lines.csv()));
new ResizeObserver(() => chart.soon()).observe($("profile"));
for (const [type, on] of [["beforeprint", true], ["afterprint", false]]) addEventListener(type, () => { for (const each of [...look.views, chart]) each.print(on); });
lines.chips();
notes.changed();
chart.soon();

// ---- figures, limits, pieces, flags -------------------------------------------------------------
for (const figure of data.figures) {
  const name = node("td", {}, figure.name, ...(figure.given ? [" ", node("span", { class: "given" }, figure.given)] : []));
  $("figures").append(node("tr", {}, name, node("td", { class: "number" }, figure.text)));
}
for (const row of data.limits.rows) {
  $("limits").append(node("div", { class: "cause" }, node("span", {}, row.name), node("i", { style: `width:${Math.max(1, row.percent)}%`, role: "img", "aria-label": `${row.percent.toFixed(0)} percent of the variance` }), node("span", {}, `${row.um < 0.01 ? "< 0.01" : number(row.um, 2)} µm · ${row.percent < 1 ? "< 1" : row.percent.toFixed(0)} %`)));
}
for (const said of data.limits.said) $("limits").append(node("p", {}, said));
const table = (element, title, heads, rows) => {
  if (!rows.length) { element.remove(); return; }
  element.append(node("caption", { class: "soft" }, title), node("tr", {}, ...heads.map((h) => node("th", { scope: "col" }, h))), ...rows.map((r) => node("tr", {}, ...r.map((c) => node("td", {}, c)))));
};
table($("pieces"), "Pieces", ["piece", "middle x, y, mm", "area, mm²", "level, mm", "told by"], data.pieces);
table($("steps"), "Steps between pieces", ["from", "to", "step, mm", "told by"], data.steps);
if (!data.pieces.length && !data.steps.length) $("pieces-card").remove();
for (const flag of data.flags) {
  const swatch = node("i", { style: `background:rgb(${flag.colour.join(",")})` });
  $("flag-table").append(node("tr", {}, node("td", {}, swatch, " ", flag.name), node("td", { class: "number" }, flag.share), node("td", { class: "soft" }, flag.meaning)));
}

// ---- residuals, origin --------------------------------------------------------------------------
async function residuals() {
  if (data.residuals.length === 0) { $("residual-card").remove(); return; }
  $("residual-note").textContent = data.residual_note;
  for (const item of data.residuals) {
    const canvases = [node("canvas"), node("canvas"), node("canvas")];
    ["captured", "rendered", "difference"].forEach((name, k) => { canvases[k].setAttribute("role", "img"); canvases[k].setAttribute("aria-label", `LED ${item.led}, ${name}`); });
    $("residuals").append(node("div", { class: "kept" }, node("figcaption", {}, item.said), node("div", { class: "triple" }, ...canvases)));
    for (const [k, name] of ["captured", "rendered", "difference"].entries()) {
      const values = valuesOf(await codesOf(item[name].tile, item.width, item.height), item[name].coding);
      if (k < 2) paint(canvases[k], values, item.width, item.height, grey, 0, item.scale);
      else paint(canvases[k], values, item.width, item.height, data.diverging, -item.difference_scale, item.difference_scale);
      await pause();
    }
  }
}
for (const sentence of data.origin) $("origin").append(node("p", {}, sentence));
$("provenance").append(...provenanceRows(data.provenance));

async function begin() {
  document.body.dataset.drawn = "no WebGL";
  await residuals();
  try {
    await view3d();
  } catch (error) {
    $("view-box").replaceWith(node("p", { class: "bad" }, `This browser cannot draw the 3-D view (${error.message}); the maps need no WebGL.`));
    document.body.dataset.drawn = "none";
  }
  document.body.dataset.ready = "true";
}
if ("DecompressionStream" in window) begin();
else document.querySelector("main").prepend(node("p", { class: "bad card" }, "This browser is too old for the maps: Chromium from 80, Firefox from 113 and Safari from 16.4 on show them."));
