// Profiles: lines on the height map, their heights drawn, two cursors, a step, CSV. They stay.
const HUES = ["#1d6fe0", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285", "#c2255c"];
// Across the part, so far down it (0 to 1).
function fresh(share) {
  const [u0, v0, u1, v1] = data.map.part, v = v0 + share * (v1 - v0), inset = 0.08 * (u1 - u0);
  return { a: [u0 + inset, v], b: [u1 - inset, v], cursors: [0.25, 0.75], untouched: true };
}
const sound = (p) => p && [p.a, p.b, p.cursors].every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite));

const lines = {
  list: kept.get("profiles", []).filter(sound).slice(0, 6),
  active: 0,
  nodes: [],

  keep() { kept.set("profiles", this.list); },
  name: (k) => "ABCDEF"[k],

  // A line's points: distance along it in mm, seen from above, and what is there.
  points(line) {
    const { a, b } = line, mean = data.map.mean_mm;
    const count = Math.min(6000, Math.max(2, Math.ceil(Math.hypot(b[0] - a[0], b[1] - a[1]) * 2) + 1));
    const from = rays(...a, mean), to = rays(...b, mean), length = Math.hypot(to[0] - from[0], to[1] - from[1]) || 1;
    const along = [(to[0] - from[0]) / length, (to[1] - from[1]) / length], points = [];
    for (let i = 0; i < count; i++) {
      const t = i / (count - 1), u = a[0] + t * (b[0] - a[0]), v = a[1] + t * (b[1] - a[1]);
      const z = maps.height.between(u, v), sigma = maps.sigma.between(u, v) / 1000;
      const [x, y] = rays(u, v, Number.isFinite(z) ? z : mean);
      points.push({ s: (x - from[0]) * along[0] + (y - from[1]) * along[1], x, y, z, sigma });
    }
    return points;
  },

  changed(done = true) {
    look.changed();
    chart.soon();
    if (done) this.keep();
  },

  // The lines over a map; their ends are grips for pointers and keys.
  mark(view) {
    while (this.nodes.length < this.list.length) {
      const k = this.nodes.length, ends = ["a", "b"].map((end) => this.grip(view, k, end));
      const body = svg("path", { class: "grip", fill: "none", stroke: "transparent", "stroke-width": 20, "aria-hidden": "true" });
      this.drag(body, view, k, ["a", "b"]);
      const g = svg("g", {}, svg("path", { stroke: "#fff", "stroke-width": 5, fill: "none" }), svg("path", { stroke: HUES[k], "stroke-width": 2.5, fill: "none" }), body, ...ends);
      view.marks.append(g);
      this.nodes.push({ g, paths: [...g.querySelectorAll(":scope > path")], ends });
    }
    this.nodes.forEach(({ g, paths, ends }, k) => {
      const line = this.list[k];
      g.style.display = line ? "" : "none";
      if (!line) return;
      const [a, b] = [view.out(...line.a), view.out(...line.b)];
      for (const path of paths) path.setAttribute("d", `M${a}L${b}`);
      ends.forEach((end, i) => {
        end.setAttribute("transform", `translate(${i ? b : a})`);
        const [x, y] = rays(...(i ? line.b : line.a), data.map.mean_mm);
        end.setAttribute("aria-label", `Profile ${this.name(k)}, ${i ? "end" : "start"}: x ${number(x)}, y ${number(y)} mm; arrow keys move it`);
      });
    });
  },

  grip(view, k, end) {
    const grip = svg("g", { class: "grip", tabindex: "0", role: "button" }, svg("circle", { r: 22, fill: "transparent" }), svg("circle", { r: 8, fill: HUES[k], stroke: "#fff", "stroke-width": 2 }), svg("text", { y: 4, "text-anchor": "middle", style: "fill:#fff;font-weight:700;font-size:11px" }, end === "a" ? this.name(k) : ""));
    this.drag(grip, view, k, [end]);
    grip.addEventListener("keydown", (event) => {
      const far = (event.shiftKey ? 10 : 1) / Math.min(1, view.zoom), moves = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
      if (!moves) return;
      event.preventDefault();
      this.shift(k, [end], moves);
      this.select(k);
    });
    return grip;
  },

  shift(k, ends, [du, dv], done = true) {
    const line = this.list[k], { width, height } = data.map;
    for (const end of ends) line[end] = [Math.max(0, Math.min(width - 1, line[end][0] + du)), Math.max(0, Math.min(height - 1, line[end][1] + dv))];
    this.changed(done);
  },

  drag(element, view, k, ends) {
    let last = null;
    element.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      element.setPointerCapture(event.pointerId);
      this.select(k);
    });
    element.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.shift(k, ends, [(event.clientX - last[0]) / view.zoom, (event.clientY - last[1]) / view.zoom], false);
      last = [event.clientX, event.clientY];
    });
    for (const type of ["pointerup", "pointercancel"]) element.addEventListener(type, () => { last = null; this.keep(); });
  },

  select(k) {
    this.active = Math.max(0, Math.min(this.list.length - 1, k));
    this.chips();
    chart.soon();
  },

  add() {
    if (this.list.length >= HUES.length) return;
    this.list.push(fresh(0.5 + (this.list.length % 2 ? 0.07 : -0.07) * this.list.length));
    this.select(this.list.length - 1);
    this.changed();
  },

  remove(k) {
    this.list.splice(k, 1);
    this.select(Math.min(this.active, this.list.length - 1));
    this.changed();
  },

  chips() {
    $("profile-list").replaceChildren(...this.list.map((_, k) => {
      const pick = node("button", { type: "button", "aria-pressed": String(k === this.active) }, `Profile ${this.name(k)}`);
      pick.addEventListener("click", () => this.select(k));
      const drop = node("button", { type: "button", "aria-label": `Remove profile ${this.name(k)}` }, "×");
      drop.addEventListener("click", () => this.remove(k));
      return node("span", { class: "chip", style: `border-color:${HUES[k]}` }, pick, ...(this.list.length > 1 ? [drop] : []));
    }));
    $("add-profile").disabled = this.list.length >= HUES.length;
  },

  csv() {
    const cell = (v, digits) => (Number.isFinite(v) ? v.toFixed(digits) : "");
    const rows = this.list.flatMap((line, k) => this.points(line).map((p) => [this.name(k), cell(p.s, 5), cell(p.x, 5), cell(p.y, 5), cell(p.z, 6), cell(p.sigma, 6)].join(",")));
    return `profile,distance_mm,x_mm,y_mm,height_mm,sigma_mm\n${rows.join("\n")}\n`;
  },
};
if (!lines.list.length) lines.list.push(fresh(0.5));

// ---- the drawing of the profiles ---------------------------------------------------------------
const chart = {
  height: 300,
  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  },

  print(on) {
    this.printed = on;
    this.draw();
    if (this.svg) this.svg.style.width = on ? "660px" : "";
  },

  draw() {
    const width = this.printed ? 660 : Math.max(280, $("profile").clientWidth), frame = { left: 66, right: 14, top: 12, bottom: 42 };
    const all = lines.list.map((line) => lines.points(line)), mine = all[lines.active], line = lines.list[lines.active];
    this.points = mine;
    const good = mine.filter((p) => Number.isFinite(p.z));
    if (good.length < 2) {
      this.svg = null;
      $("profile").replaceChildren();
      $("cursors").replaceChildren();
      $("profile-figures").textContent = "The line crosses no measured surface.";
      return;
    }
    let [low, high, end] = [Infinity, -Infinity, 0];
    for (const points of all) for (const p of points) {
      end = Math.max(end, p.s);
      if (!Number.isFinite(p.z)) continue;
      const s = points === mine && Number.isFinite(p.sigma) ? p.sigma : 0;
      [low, high] = [Math.min(low, p.z - s), Math.max(high, p.z + s)];
    }
    const margin = Math.max(0.04 * (high - low), 5e-5); // no line lies on the frame
    [low, high] = [low - margin, high + margin];
    const px = (s) => frame.left + (s / end) * (width - frame.left - frame.right), py = (z) => frame.top + ((high - z) / (high - low)) * (this.height - frame.top - frame.bottom);
    Object.assign(this, { px, py, end, frame, width });
    if (line.untouched) { // at places with a height
      line.cursors = line.cursors.map((f) => good.reduce((best, p) => (Math.abs(p.s - f * end) < Math.abs(best.s - f * end) ? p : best)).s / end);
      delete line.untouched;
    }
    const bottom = this.height - frame.bottom, under = [];
    for (const z of ticks(low, high, 7)) under.push(svg("path", { class: "axis", opacity: 0.35, d: `M${frame.left} ${py(z.value)}H${width - frame.right}` }), svg("text", { x: frame.left - 7, y: py(z.value) + 4, "text-anchor": "end" }, z.text));
    for (const s of ticks(0, end, width / 90)) under.push(svg("path", { class: "axis", d: `M${px(s.value)} ${bottom}v5` }), svg("text", { x: px(s.value), y: bottom + 18, "text-anchor": "middle" }, s.text));
    under.push(svg("path", { class: "axis", d: `M${frame.left} ${frame.top}V${bottom}H${width - frame.right}` }));
    under.push(svg("text", { x: (width + frame.left) / 2, y: this.height - 6, "text-anchor": "middle" }, "distance, mm"), svg("text", { transform: `translate(13 ${(frame.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "height, mm"));
    const runs = (points, ok) => { const found = []; let run = null; for (const p of points) { if (!ok(p)) run = null; else if (run) run.push(p); else found.push((run = [p])); } return found.filter((r) => r.length > 1); };
    const trace = (points, z) => points.map((p) => `${px(p.s).toFixed(1)} ${py(z(p)).toFixed(1)}`).join("L");
    const bands = runs(mine, (p) => Number.isFinite(p.z + p.sigma)).map((r) => `M${trace(r, (p) => p.z + p.sigma)}L${trace([...r].reverse(), (p) => p.z - p.sigma)}Z`).join("");
    under.push(svg("path", { d: bands, fill: HUES[lines.active], opacity: 0.2 }));
    all.forEach((points, k) => under.push(svg("path", { d: runs(points, (p) => Number.isFinite(p.z)).map((r) => `M${trace(r, (p) => p.z)}`).join(""), fill: "none", stroke: HUES[k], "stroke-width": k === lines.active ? 2 : 1, opacity: k === lines.active ? 1 : 0.6 })));
    if (!this.svg) {
      this.under = svg("g");
      this.handles = [0, 1].map((i) => this.cursor(i));
      this.svg = svg("svg", { height: this.height, role: "group", "aria-label": "Height along the profiles" }, this.under, ...this.handles.map((h) => h.g));
      $("profile").replaceChildren(this.svg);
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.under.replaceChildren(...under);
    this.measure(line, good);
  },

  at(fraction) {
    const s = fraction * this.end;
    return this.points.reduce((best, p) => (Math.abs(p.s - s) < Math.abs(best.s - s) ? p : best));
  },

  // Mean over the window about a cursor; of the one place where no window is asked.
  mean(point, window) {
    const near = this.points.filter((p) => Math.abs(p.s - point.s) <= window / 2 && Number.isFinite(p.z));
    if (!near.length || !(window > 0)) return point;
    const mean = (key) => near.reduce((sum, p) => sum + p[key], 0) / near.length;
    return { ...point, z: mean("z"), sigma: mean("sigma") };
  },

  measure(line, good) {
    const window = Math.max(0, Number($("window").value) || 0), picks = line.cursors.map((f) => this.at(f)), means = picks.map((p) => this.mean(p, window));
    this.handles.forEach(({ g, line: bar, dot, band }, i) => {
      const x = this.px(picks[i].s), half = (this.px(window) - this.px(0)) / 2, bottom = this.height - this.frame.bottom;
      bar.forEach((path) => path.setAttribute("d", `M${x} ${this.frame.top}V${bottom}`));
      for (const [name, value] of [["x", x - half], ["y", this.frame.top], ["width", 2 * half], ["height", bottom - this.frame.top]]) band.setAttribute(name, value);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", Number.isFinite(picks[i].z) ? this.py(picks[i].z) : bottom);
      g.setAttribute("aria-valuenow", picks[i].s.toFixed(4));
      g.setAttribute("aria-valuemax", this.end.toFixed(4));
      g.setAttribute("aria-valuetext", `${number(picks[i].s)} mm, height ${number(picks[i].z)} mm`);
    });
    const sigma = (pair) => Math.hypot(pair[0].sigma, pair[1].sigma), row = (...cells) => node("tr", {}, ...cells.map((c, k) => node(k ? "td" : "th", k ? { class: "number" } : { scope: "row" }, c)));
    const head = ["", "distance", "x", "y", "height"].map((c) => node("th", { scope: "col", class: c ? "number" : "" }, c ? `${c}, mm` : ""));
    $("cursors").replaceChildren(node("tr", {}, ...head),
      ...picks.map((p, i) => row(`cursor ${i + 1}`, across(p.s), across(p.x), across(p.y), rounded(p.z, p.sigma))),
      row("Δ", across(picks[1].s - picks[0].s), across(picks[1].x - picks[0].x), across(picks[1].y - picks[0].y), rounded(picks[1].z - picks[0].z, sigma(picks))),
      row(window > 0 ? `step, means over ${number(window, 3)} mm` : "step", "", "", "", rounded(means[1].z - means[0].z, sigma(means))));
    const z = good.map((p) => p.z), top = z.reduce((m, v) => Math.max(m, v)), least = z.reduce((m, v) => Math.min(m, v)), typical = good.reduce((sum, p) => sum + p.sigma, 0) / good.length;
    $("profile-figures").textContent = `Profile ${lines.name(lines.active)}: length ${across(this.points[this.points.length - 1].s)} mm · highest to lowest ${rounded(top - least, typical)} mm · ` +
      (Number.isFinite(typical) ? "shaded: one sigma. The sigma of a difference is an upper bound: it takes both ends for independent, and neighbours err together." : "no uncertainty estimated");
  },

  cursor(i) {
    const hit = svg("path", { stroke: "transparent", "stroke-width": 28 }), bar = svg("path", { stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": i ? "6 3" : "" });
    const band = svg("rect", { fill: "currentColor", opacity: 0.1 }), dot = svg("circle", { r: 5, fill: "var(--paper)", stroke: "currentColor", "stroke-width": 2 });
    const g = svg("g", { class: "cursor", tabindex: "0", role: "slider", "aria-label": `Cursor ${i + 1}`, "aria-valuemin": "0" }, band, bar, dot, hit);
    const move = (fraction) => { lines.list[lines.active].cursors[i] = Math.max(0, Math.min(1, fraction)); this.soon(); lines.keep(); };
    g.addEventListener("pointerdown", (event) => { g.setPointerCapture(event.pointerId); g.held = true; });
    g.addEventListener("pointermove", (event) => {
      if (!g.held) return;
      const box = this.svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * this.width;
      move((x - this.frame.left) / (this.width - this.frame.left - this.frame.right));
    });
    for (const type of ["pointerup", "pointercancel"]) g.addEventListener(type, () => { g.held = false; });
    g.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20 }[event.key], now = lines.list[lines.active].cursors[i];
      if (step) move(now + step * (event.shiftKey ? 10 : 1) / Math.max(100, this.points.length / 2));
      else if (event.key === "Home") move(0);
      else if (event.key === "End") move(1);
      else return;
      event.preventDefault();
    });
    return { g, line: [bar, hit], dot, band };
  },
};

function saved(name, kind, text) {
  const link = node("a", { href: URL.createObjectURL(new Blob([text], { type: kind })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
