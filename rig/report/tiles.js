// Maps in tiles of whole numbers: rig/report/tiles.py says how they are made. Decoded when needed.
const parsed = new Promise((done) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done);
  else done();
});

async function inflate(text) {
  const coded = atob(text), bytes = new Uint8Array(coded.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = coded.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Whole numbers of a tile: planes of bytes, folded signs, differences to left, upper, upper left.
async function codesOf(text, width, height) {
  const bytes = await inflate(text);
  const count = width * height, planes = bytes.length / count, codes = new Int32Array(count);
  for (let r = 0, i = 0; r < height; r++) {
    let sum = 0;
    for (let c = 0; c < width; c++, i++) {
      let folded = bytes[i];
      for (let p = 1; p < planes; p++) folded |= bytes[p * count + i] << (8 * p);
      sum = (sum + ((folded >>> 1) ^ -(folded & 1))) | 0;
      codes[i] = r ? (sum + codes[i - width]) | 0 : sum;
    }
  }
  return codes;
}

function valuesOf(codes, coding) {
  const values = new Float32Array(codes.length);
  const log = coding.kind === "log" ? Math.log(coding.quantum) : 0;
  for (let i = 0; i < codes.length; i++) {
    const k = codes[i];
    values[i] = k === 0 ? NaN : log ? coding.low * Math.exp(log * (k - 1)) : coding.low + (k - 1) * coding.quantum;
  }
  return values;
}

const pause = () => new Promise((done) => setTimeout(done));

class TiledMap {
  constructor(name, coding, shape) {
    Object.assign(this, { name, coding, ...shape });
    this.found = new Map();
    this.listeners = [];
  }

  size(level) {
    let [w, h] = [this.width, this.height];
    for (let k = 0; k < level; k++) [w, h] = [(w + 1) >> 1, (h + 1) >> 1];
    return [w, h];
  }

  // The tile if it is at hand; else it is sent for and the listeners are told when it has come.
  at(level, row, column) {
    const key = (level * 4096 + row) * 4096 + column;
    const tile = this.found.get(key);
    if (tile === undefined) {
      this.found.set(key, null);
      this.load(level, row, column, key);
    }
    return tile || null;
  }

  async load(level, row, column, key) {
    const id = `${this.name}-${level}-${row}-${column}`;
    let text = document.getElementById(id);
    if (!text) { await parsed; text = document.getElementById(id); }
    if (!text) return;
    const [w, h] = this.size(level);
    const [tw, th] = [Math.min(this.tile, w - column * this.tile), Math.min(this.tile, h - row * this.tile)];
    const codes = await codesOf(text.textContent, tw, th);
    await pause(); // a frame may pass between the two halves of the work
    this.found.set(key, { level, row, column, width: tw, height: th, values: valuesOf(codes, this.coding) });
    for (const listener of this.listeners) listener();
  }

  // The whole coarsest level.
  async overview() {
    const level = this.levels - 1, [w, h] = this.size(level);
    const text = document.getElementById(`${this.name}-${level}-0-0`) || (await parsed, document.getElementById(`${this.name}-${level}-0-0`));
    return { width: w, height: h, step: 2 ** level, values: valuesOf(await codesOf(text.textContent, w, h), this.coding) };
  }

  // Value at a place of the picture, px: between four pixels; from the finest level at hand.
  between(u, v) {
    for (let level = 0; level < this.levels; level++) {
      const step = 2 ** level, [w, h] = this.size(level);
      const x = Math.max(0, Math.min(w - 1, (u + 0.5) / step - 0.5)), y = Math.max(0, Math.min(h - 1, (v + 0.5) / step - 0.5));
      const c = Math.min(w - 2, Math.floor(x)), r = Math.min(h - 2, Math.floor(y));
      if (c < 0 || r < 0) continue;
      const four = [this.pixel(level, r, c), this.pixel(level, r, c + 1), this.pixel(level, r + 1, c), this.pixel(level, r + 1, c + 1)];
      if (four.includes(undefined)) continue;
      const [s, t] = [x - c, y - r];
      return (1 - t) * ((1 - s) * four[0] + s * four[1]) + t * ((1 - s) * four[2] + s * four[3]);
    }
    return NaN;
  }

  pixel(level, r, c) {
    const size = this.tile, tile = this.at(level, Math.floor(r / size), Math.floor(c / size));
    return tile ? tile.values[(r % size) * tile.width + (c % size)] : undefined;
  }
}

// World x and y (mm) of a place of the picture at a height: what the camera's rays say, between
// nodes of a coarse grid.
const rays = (() => {
  const { columns, rows, u0, v0, du, dv } = data.map.rays;
  const [x0, y0, dx, dy] = ["x0", "y0", "dx", "dy"].map((name) => floats(data.map.rays[name]));
  return (u, v, z) => {
    const s = Math.max(0, Math.min(columns - 1.000001, (u - u0) / du)), t = Math.max(0, Math.min(rows - 1.000001, (v - v0) / dv));
    const c = Math.floor(s), r = Math.floor(t), a = s - c, b = t - r, i = r * columns + c;
    const mix = (m) => (1 - b) * ((1 - a) * m[i] + a * m[i + 1]) + b * ((1 - a) * m[i + columns] + a * m[i + columns + 1]);
    return [mix(x0) + z * mix(dx), mix(y0) + z * mix(dy)];
  };
})();
