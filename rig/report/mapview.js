// One map: a picture that is moved and zoomed, axes in mm, a scale bar, arrows, lines and notes.
const MARGIN = { left: 54, right: 12, top: 10, bottom: 40 };

// Where the linked maps look: picture's px in the middle, and how much larger than as a whole.
const look = {
  u: (data.map.width - 1) / 2, v: (data.map.height - 1) / 2, zoom: 1, views: [],
  changed() { for (const view of this.views) view.soon(); },
};

function lut(table) {
  const colours = new Uint32Array(256);
  for (let i = 0; i < 256; i++) colours[i] = (255 << 24) | (table[3 * i + 2] << 16) | (table[3 * i + 1] << 8) | table[3 * i];
  return colours;
}

class Layer {
  constructor(map, table, scale) {
    Object.assign(this, { map, colours: lut(table), table, scale, painted: new Map() });
  }

  // A tile as a canvas; the newest sixty are kept.
  picture(tile) {
    const found = this.painted.get(tile);
    if (found) return found;
    const canvas = node("canvas");
    [canvas.width, canvas.height] = [tile.width, tile.height];
    const context = canvas.getContext("2d"), image = context.createImageData(tile.width, tile.height);
    this.fill(new Uint32Array(image.data.buffer), tile);
    context.putImageData(image, 0, 0);
    if (this.painted.size >= 60) this.painted.delete(this.painted.keys().next().value);
    this.painted.set(tile, canvas);
    return canvas;
  }

  fill(out, { values }) {
    const { low, high } = this.scale, gain = 255 / (high - low);
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      if (v === v) out[i] = this.colours[Math.max(0, Math.min(255, Math.round((v - low) * gain)))];
    }
  }
}

// Slopes of the height under a light from the upper left.
class Relief extends Layer {
  fill(out, { values, width, height, level }) {
    const gain = data.map.relief / (data.map.pixel_mm * 2 ** level);
    for (let r = 0, i = 0; r < height; r++) for (let c = 0; c < width; c++, i++) {
      if (values[i] !== values[i]) continue;
      const right = c + 1 < width ? values[i + 1] : NaN, left = c ? values[i - 1] : NaN;
      const down = r + 1 < height ? values[i + width] : NaN, up = r ? values[i - width] : NaN;
      const across = right === right && left === left ? (right - left) / 2 : right === right ? right - values[i] : left === left ? values[i] - left : 0;
      const along = down === down && up === up ? (down - up) / 2 : down === down ? down - values[i] : up === up ? values[i] - up : 0;
      const shade = 0.5 + gain * (across + along);
      out[i] = this.colours[Math.max(0, Math.min(255, Math.round(255 * shade)))];
    }
  }
}

class MapView {
  constructor(figure, title, layer, options = {}) {
    Object.assign(this, { layer, title, lines: options.lines || null });
    this.stage = node("div", { class: "stage", tabindex: "0", role: "application", "aria-roledescription": "map", "aria-label": `${title}. ${options.said || ""} Arrow keys move, plus and minus zoom, 0 fits.` });
    this.canvas = node("canvas", { "aria-hidden": "true" });
    this.under = svg("g");
    this.marks = svg("g");
    this.window = svg("svg", {}, this.marks);
    this.over = svg("svg", {}, this.window, this.under);
    this.stage.append(this.canvas, this.over);
    this.caption = node("figcaption", {}, title);
    figure.append(this.caption, this.stage);
    if (layer.scale.ticks) figure.append(...this.bar());
    layer.map.listeners.push(() => this.soon());
    new ResizeObserver(() => this.soon()).observe(this.stage);
    addEventListener("themechange", () => this.soon());
    this.stage.style.aspectRatio = `${data.map.width + 60} / ${data.map.height + 60}`;
    this.stage.style.maxHeight = "78vh";
    gestures(this);
    look.views.push(this);
  }

  bar() {
    const { low, high, ticks, unit, clipped } = this.layer.scale;
    const bar = node("div", { class: "bar", "aria-label": `colours from ${low} to ${high} ${unit}` }), canvas = node("canvas");
    paintBar(canvas, this.layer.table);
    bar.append(canvas);
    for (const tick of ticks) {
      const place = `left:${(100 * (tick.value - low)) / (high - low)}%`;
      bar.append(node("i", { style: place }), node("span", { style: place }, tick.text));
    }
    this.below = node("figcaption", {}, `${unit}${clipped ? ` · ${clipped}` : " · nothing is clipped"}`);
    return [bar, this.below];
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  // Paper: two maps beside each other. Drawn at once, since the page is printed as it stands.
  print(on) {
    const wide = 335;
    this.printed = on;
    Object.assign(this.stage.style, on ? { width: `${wide}px`, maxHeight: "none" } : { width: "", maxHeight: "78vh" });
    this.stage.parentElement.style.width = on ? `${wide}px` : "";
    this.draw();
  }

  get inner() {
    const box = this.stage.getBoundingClientRect();
    return { w: Math.max(40, box.width - MARGIN.left - MARGIN.right), h: Math.max(40, box.height - MARGIN.top - MARGIN.bottom) };
  }

  get least() { const { w, h } = this.inner; return Math.min(w / data.map.width, h / data.map.height); }
  get zoom() { return look.zoom * this.least; } // CSS px per picture's px

  // Page place in the stage, CSS px, of a place of the picture; and back.
  out(u, v) { const { w, h } = this.inner; return [MARGIN.left + w / 2 + (u - look.u) * this.zoom, MARGIN.top + h / 2 + (v - look.v) * this.zoom]; }
  back(x, y) { const { w, h } = this.inner; return [look.u + (x - MARGIN.left - w / 2) / this.zoom, look.v + (y - MARGIN.top - h / 2) / this.zoom]; }

  moveTo(u, v, zoom) {
    const { w, h } = this.inner, { width, height } = data.map;
    look.zoom = Math.max(1, Math.min(40, zoom) / this.least);
    if (look.zoom < 1.0001) look.zoom = 1;
    const [hw, hh] = [w / 2 / this.zoom, h / 2 / this.zoom];
    look.u = 2 * hw >= width ? (width - 1) / 2 : Math.max(hw - 0.5, Math.min(width - 0.5 - hw, u));
    look.v = 2 * hh >= height ? (height - 1) / 2 : Math.max(hh - 0.5, Math.min(height - 0.5 - hh, v));
    for (const view of look.views) view.stage.style.touchAction = look.zoom > 1 ? "none" : "pan-y";
    look.changed();
  }

  // The part in the window; all of the picture where the part fills it.
  fit() {
    const [u0, v0, u1, v1] = data.map.part, { w, h } = this.inner;
    this.moveTo((u0 + u1 - 1) / 2, (v0 + v1 - 1) / 2, Math.min(w / (u1 - u0), h / (v1 - v0)));
  }

  zoomBy(factor, x, y) {
    const { w, h } = this.inner;
    [x, y] = [x ?? MARGIN.left + w / 2, y ?? MARGIN.top + h / 2];
    const [u, v] = this.back(x, y), zoom = Math.max(this.least, Math.min(40, this.zoom * factor));
    this.moveTo(u - (x - MARGIN.left - w / 2) / zoom, v - (y - MARGIN.top - h / 2) / zoom, zoom);
  }

  draw() {
    const box = this.stage.getBoundingClientRect();
    if (!box.width) return;
    const scale = this.printed ? 3 : Math.min(2, window.devicePixelRatio || 1), { w, h } = this.inner;
    if (this.canvas.width !== Math.round(box.width * scale) || this.canvas.height !== Math.round(box.height * scale)) {
      [this.canvas.width, this.canvas.height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
    }
    const context = this.canvas.getContext("2d"), zoom = this.zoom, map = this.layer.map;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    context.save();
    context.beginPath();
    const [x0, y0] = this.out(-0.5, -0.5), [x1, y1] = this.out(map.width - 0.5, map.height - 0.5);
    const frame = { x: Math.max(MARGIN.left, x0), y: Math.max(MARGIN.top, y0), x1: Math.min(MARGIN.left + w, x1), y1: Math.min(MARGIN.top + h, y1) };
    this.frame = frame;
    context.rect(frame.x, frame.y, frame.x1 - frame.x, frame.y1 - frame.y);
    context.clip();
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--none");
    context.fillRect(0, 0, box.width, box.height);
    const level = Math.max(0, Math.min(map.levels - 1, Math.floor(Math.log2(1 / (zoom * scale)) + 0.25)));
    context.imageSmoothingEnabled = zoom * scale < 1.5;
    for (const each of new Set([map.levels - 1, level])) this.tiles(context, each, frame);
    context.restore();
    this.axes(frame);
  }

  tiles(context, level, frame) {
    const map = this.layer.map, step = 2 ** level, size = map.tile * step, [w, h] = map.size(level);
    const [u0, v0] = this.back(frame.x, frame.y), [u1, v1] = this.back(frame.x1, frame.y1);
    const last = [Math.ceil(w / map.tile) - 1, Math.ceil(h / map.tile) - 1];
    for (let r = Math.max(0, Math.floor((v0 + 0.5) / size)); r <= Math.min(last[1], Math.floor((v1 + 0.5) / size)); r++) {
      for (let c = Math.max(0, Math.floor((u0 + 0.5) / size)); c <= Math.min(last[0], Math.floor((u1 + 0.5) / size)); c++) {
        const tile = map.at(level, r, c);
        if (!tile) continue;
        const [x, y] = this.out(c * size - 0.5, r * size - 0.5), zoom = this.zoom * step;
        context.drawImage(this.layer.picture(tile), x, y, tile.width * zoom, tile.height * zoom);
      }
    }
  }

  // ---- what lies over the picture ---------------------------------------------------------------
  axes(frame) {
    const parts = [], mean = data.map.mean_mm, world = (x, y) => rays(...this.back(x, y), mean);
    const path = (d, kind) => parts.push(svg("path", { d, class: kind }));
    const label = (x, y, words, options = {}) => parts.push(svg("text", { x, y, ...options }, words));
    const [cx, cy] = [(frame.x + frame.x1) / 2, (frame.y + frame.y1) / 2];
    const [o, right, down] = [world(cx, cy), world(cx + 1, cy), world(cx, cy + 1)];
    const flat = Math.abs(right[0] - o[0]) >= Math.abs(right[1] - o[1]) ? 0 : 1; // the axis that runs across
    path(`M${frame.x} ${frame.y}H${frame.x1}V${frame.y1}H${frame.x}Z`, "axis");
    for (const across of [true, false]) {
      const axis = across ? flat : 1 - flat;
      const [from, to] = across ? [frame.x, frame.x1] : [frame.y1, frame.y];
      const at = (p) => (across ? world(p, frame.y1) : world(frame.x, p))[axis];
      const ends = [at(from), at(to)], count = Math.max(2, Math.abs(to - from) / (across ? 60 : 50));
      if (!(Math.abs(ends[1] - ends[0]) > 0)) continue;
      for (const tick of ticks(Math.min(...ends), Math.max(...ends), count)) {
        let [a, b] = [0, 1];
        for (let k = 0; k < 22; k++) { const m = (a + b) / 2; ((at(from + m * (to - from)) < tick.value) === (ends[0] < ends[1])) ? (a = m) : (b = m); }
        const p = from + a * (to - from);
        path(across ? `M${p} ${frame.y1}v5` : `M${frame.x} ${p}h-5`, "axis");
        if (across) label(p, frame.y1 + 18, tick.text, { "text-anchor": "middle" });
        else label(frame.x - 8, p + 4, tick.text, { "text-anchor": "end" });
      }
      const name = `${"xy"[axis]}, mm`;
      if (across) label(frame.x1, frame.y1 + 33, name, { "text-anchor": "end" });
      else label(0, 0, name, { transform: `translate(12 ${frame.y + 4}) rotate(-90)`, "text-anchor": "end" });
    }
    const per = Math.hypot(right[0] - o[0], right[1] - o[1]); // mm per CSS px
    const bar = roundDown(((frame.x1 - frame.x) * per) / 4), length = bar / per;
    parts.push(svg("rect", { class: "backing", x: frame.x + 6, y: frame.y1 - 32, width: Math.max(length + 16, 58), height: 27, rx: 3 }));
    path(`M${frame.x + 14} ${frame.y1 - 15}v5h${length}v-5`, "on-map");
    label(frame.x + 14, frame.y1 - 18, `${bar} mm`, { class: "on-map" });
    // The arrows: world axes as the picture shows them.
    const [a, b, c, d] = [right[0] - o[0], down[0] - o[0], right[1] - o[1], down[1] - o[1]], det = a * d - b * c;
    const base = [frame.x1 - 44, frame.y + 44];
    parts.push(svg("rect", { class: "backing", x: base[0] - 36, y: base[1] - 40, width: 76, height: 76, rx: 3 }));
    for (const [name, vector] of [["x", [d / det, -c / det]], ["y", [-b / det, a / det]]]) {
      const n = Math.hypot(...vector), [ex, ey] = [vector[0] / n, vector[1] / n], [x, y] = [base[0] - 10 + ex * 26, base[1] + 10 + ey * 26];
      path(`M${base[0] - 10} ${base[1] + 10}L${x} ${y}M${x - 7 * ex + 4 * ey} ${y - 7 * ey - 4 * ex}L${x} ${y}L${x - 7 * ex - 4 * ey} ${y - 7 * ey + 4 * ex}`, "on-map");
      label(x + 9 * ex, y + 9 * ey + 4, name, { class: "on-map", "text-anchor": "middle" });
    }
    this.under.replaceChildren(...parts);
    for (const [name, value] of [["x", frame.x], ["y", frame.y], ["width", frame.x1 - frame.x], ["height", frame.y1 - frame.y]]) this.window.setAttribute(name, value);
    this.marks.setAttribute("transform", `translate(${-frame.x} ${-frame.y})`);
    if (!this.rings) {
      this.rings = ["outline", "outline inner"].map((kind) => svg("path", { class: kind }));
      this.marks.prepend(...this.rings);
    }
    const rings = data.outline.map((ring) => `M${ring.map(([u, v]) => this.out(u, v).map((p) => p.toFixed(1)).join(" ")).join("L")}Z`).join("");
    for (const ring of this.rings) ring.setAttribute("d", rings);
    if (this.lines) this.lines.mark(this);
    notes.mark(this);
  }
}

function roundDown(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return Number(([5, 2, 1].find((k) => k * power <= value * 1.000001) * power).toPrecision(3));
}

// Pointers, wheel and keys of a map.
function gestures(view) {
  const { stage } = view, held = new Map();
  const place = (event) => { const box = stage.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  stage.style.touchAction = "pan-y";
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest && event.target.closest(".grip")) return;
    held.set(event.pointerId, place(event));
    view.pressed = place(event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const now = place(event), before = held.get(event.pointerId);
    if (before && held.size === 1 && look.zoom > 1) view.moveTo(look.u - (now[0] - before[0]) / view.zoom, look.v - (now[1] - before[1]) / view.zoom, view.zoom);
    if (before && held.size === 2) {
      const other = [...held].find(([id]) => id !== event.pointerId)[1];
      const gap = (p) => Math.max(10, Math.hypot(p[0] - other[0], p[1] - other[1]));
      view.zoomBy(gap(now) / gap(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    if (before) held.set(event.pointerId, now);
    readout(...view.back(...now));
  });
  const up = (event) => {
    const now = place(event);
    if (event.type === "pointerup" && view.pressed && held.size === 1 && Math.hypot(now[0] - view.pressed[0], now[1] - view.pressed[1]) < 6) notes.placed(...view.back(...now));
    held.delete(event.pointerId);
  };
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== stage) return; // the page scrolls
    event.preventDefault();
    view.zoomBy(1.0015 ** -event.deltaY, ...place(event));
  }, { passive: false });
  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage) return;
    const far = 40 / view.zoom, moves = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] };
    if (moves[event.key]) view.moveTo(look.u + moves[event.key][0], look.v + moves[event.key][1], view.zoom);
    else if (event.key === "+" || event.key === "=") view.zoomBy(1.5);
    else if (event.key === "-") view.zoomBy(1 / 1.5);
    else if (event.key === "0") view.fit();
    else return;
    event.preventDefault();
    readout(look.u, look.v);
  });
}
