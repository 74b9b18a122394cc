const { width, height } = data.map;
const heights = floats(data.map.height_mm);
const sigmas = floats(data.map.sigma_um);
const xs = floats(data.map.x_mm);
const ys = floats(data.map.y_mm);
const $ = (id) => document.getElementById(id);

$("title").textContent = data.title;
$("subtitle").textContent = data.subtitle;
for (const tile of data.tiles) {
  $("tiles").append(node("div", { class: "tile" }, node("b", {}, tile.value), node("span", {}, tile.name)));
}

// ---- maps ------------------------------------------------------------------------------------
const [heightLow, heightHigh] = finiteQuantiles(heights, 0.002, 0.998);
const [sigmaLow, sigmaHigh] = finiteQuantiles(sigmas, 0.0, 0.98);
const heightImage = paint($("height"), heights, width, height, data.viridis, heightLow, heightHigh);
paint($("sigma"), sigmas, width, height, data.magma, sigmaLow, sigmaHigh);
drawOutline($("sigma").getContext("2d"));
paintBar($("height-bar"), data.viridis);
paintBar($("sigma-bar"), data.magma);
for (const [name, low, high, unit] of [["height", heightLow, heightHigh, "mm"], ["sigma", sigmaLow, sigmaHigh, "µm"]]) {
  $(`${name}-low`).textContent = `${number(low)} ${unit}`;
  $(`${name}-middle`).textContent = `${number((low + high) / 2)} ${unit}`;
  $(`${name}-high`).textContent = `${number(high)} ${unit}`;
}
if (data.map.absolute) $("sigma-note").textContent = "Of the height above the stage; grey: no surface is claimed there.";
const sigmaKnown = sigmas.some(Number.isFinite);
if (!sigmaKnown) {
  $("sigma-note").textContent = "No uncertainty was estimated for this result.";
  for (const id of ["sigma-bar", "sigma-low", "sigma-middle", "sigma-high"]) $(id).style.display = "none";
}

// ---- profile line ------------------------------------------------------------------------------
const line = { a: [width * 0.1, height / 2], b: [width * 0.9, height / 2] };

function sample(values, x, y) {
  const c = Math.round(x), r = Math.round(y);
  return c >= 0 && r >= 0 && c < width && r < height ? values[r * width + c] : NaN;
}

function profile() {
  const count = Math.max(2, Math.ceil(Math.hypot(line.b[0] - line.a[0], line.b[1] - line.a[1])) + 1);
  const points = [];
  let previous = null, length = 0;
  for (let i = 0; i < count; i++) {
    const t = i / (count - 1);
    const x = line.a[0] + t * (line.b[0] - line.a[0]), y = line.a[1] + t * (line.b[1] - line.a[1]);
    const place = [sample(xs, x, y), sample(ys, x, y)];
    if (previous && place.every(Number.isFinite)) length += Math.hypot(place[0] - previous[0], place[1] - previous[1]);
    if (place.every(Number.isFinite)) previous = place;
    points.push({ s: length, z: sample(heights, x, y), sigma: sample(sigmas, x, y) / 1000 });
  }
  return points;
}

/** The part's border, and those of its holes, as they were found in the pictures. */
function drawOutline(context) {
  context.strokeStyle = "#111827";
  context.lineWidth = Math.max(1, width / 400);
  for (const border of data.map.outline) {
    context.beginPath();
    for (let i = 0; i < border.length; i += 2) context.lineTo(border[i], border[i + 1]);
    context.closePath();
    context.stroke();
  }
}

function drawLine() {
  const context = $("height").getContext("2d");
  context.putImageData(heightImage, 0, 0);
  drawOutline(context);
  context.strokeStyle = "#fff";
  context.lineWidth = Math.max(1, width / 200);
  context.beginPath();
  context.moveTo(...line.a);
  context.lineTo(...line.b);
  context.stroke();
  context.fillStyle = "#c2410c";
  for (const end of [line.a, line.b]) {
    context.beginPath();
    context.arc(end[0], end[1], Math.max(3, width / 70), 0, 7);
    context.fill();
  }
}

function drawProfile() {
  const canvas = $("profile");
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const [w, h, left, bottom, top] = [canvas.clientWidth, canvas.clientHeight, 70, 34, 10];
  const points = profile();
  const good = points.filter((p) => Number.isFinite(p.z));
  context.clearRect(0, 0, w, h);
  if (good.length < 2) {
    $("profile-figures").textContent = "The line crosses no measured surface.";
    return;
  }
  let low = Math.min(...good.map((p) => p.z - (p.sigma || 0))), high = Math.max(...good.map((p) => p.z + (p.sigma || 0)));
  if (high - low < 1e-4) [low, high] = [low - 5e-5, high + 5e-5];
  const end = points[points.length - 1].s || 1;
  const px = (s) => left + (s / end) * (w - left - 12), py = (z) => top + ((high - z) / (high - low)) * (h - top - bottom);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = "#5c6878";
  context.strokeStyle = "#d9dee6";
  context.textAlign = "right";
  for (const z of ticks(low, high)) {
    context.beginPath();
    context.moveTo(left, py(z.value));
    context.lineTo(w - 12, py(z.value));
    context.stroke();
    context.fillText(z.text, left - 6, py(z.value) + 4);
  }
  context.textAlign = "center";
  for (const s of ticks(0, end)) {
    context.beginPath();
    context.moveTo(px(s.value), h - bottom);
    context.lineTo(px(s.value), h - bottom + 4);
    context.stroke();
    context.fillText(s.text, px(s.value), h - bottom + 16);
  }
  context.fillText("distance, mm", (w + left) / 2, h - 2);
  context.save();
  context.translate(12, (h - bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText("height, mm", 0, 0);
  context.restore();
  context.fillStyle = "rgba(29,78,216,0.18)";
  for (let i = 1; i < points.length; i++) {
    const [p, q] = [points[i - 1], points[i]];
    if (![p.z, q.z, p.sigma, q.sigma].every(Number.isFinite)) continue;
    context.beginPath();
    context.moveTo(px(p.s), py(p.z + p.sigma));
    context.lineTo(px(q.s), py(q.z + q.sigma));
    context.lineTo(px(q.s), py(q.z - q.sigma));
    context.lineTo(px(p.s), py(p.z - p.sigma));
    context.fill();
  }
  context.strokeStyle = "#1d4ed8";
  context.lineWidth = 1.5;
  context.beginPath();
  let pen = false;
  for (const p of points) {
    if (!Number.isFinite(p.z)) { pen = false; continue; }
    pen ? context.lineTo(px(p.s), py(p.z)) : context.moveTo(px(p.s), py(p.z));
    pen = true;
  }
  context.stroke();
  const mean = good.reduce((sum, p) => sum + p.z, 0) / good.length;
  const rise = good[good.length - 1].z - good[0].z;
  const deviation = good.reduce((sum, p) => sum + Math.abs(p.z - mean), 0) / good.length;
  const sigma = good.reduce((sum, p) => sum + (p.sigma || 0), 0) / good.length;
  $("profile-figures").textContent =
    `Length ${number(end)} mm · mean height ${number(mean)} mm · from end to end ${number(rise)} mm · highest to lowest ` +
    `${number(Math.max(...good.map((p) => p.z)) - Math.min(...good.map((p) => p.z)))} mm · mean deviation ${number(deviation * 1000)} µm · ` +
    (sigmaKnown ? `mean sigma ${number(sigma * 1000)} µm · shaded: one sigma` : "no uncertainty estimated");
}

function place(event) {
  const box = $("height").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
}

let grip = null;
$("height").addEventListener("pointerdown", (event) => {
  const p = place(event);
  const near = (end) => Math.hypot(end[0] - p[0], end[1] - p[1]) < width / 20;
  grip = near(line.a) ? "a" : near(line.b) ? "b" : { from: p, a: [...line.a], b: [...line.b] };
  $("height").setPointerCapture(event.pointerId);
});
$("height").addEventListener("pointermove", (event) => {
  const p = place(event);
  const z = sample(heights, ...p), s = sample(sigmas, ...p);
  $("readout").textContent = Number.isFinite(z)
    ? `x ${number(sample(xs, ...p))} mm, y ${number(sample(ys, ...p))} mm: height ${number(z, 5)} mm ± ${number(s, 3)} µm`
    : "no surface here";
  if (!grip) return;
  if (typeof grip === "string") line[grip] = p;
  else for (const end of ["a", "b"]) line[end] = [grip[end][0] + p[0] - grip.from[0], grip[end][1] + p[1] - grip.from[1]];
  drawLine();
  drawProfile();
});
$("height").addEventListener("pointerup", () => { grip = null; });
window.addEventListener("resize", drawProfile);
drawLine();
drawProfile();

// ---- flags, figures, residuals, provenance -----------------------------------------------------
{
  const flags = floats(data.map.flags);
  const canvas = $("flags");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const kind = data.flags.find((flag) => flags[i] & flag.bit);
    image.data.set([...(kind ? kind.colour : [222, 226, 232]), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  for (const flag of data.flags) {
    const swatch = node("span", { style: `display:inline-block;width:12px;height:12px;background:rgb(${flag.colour.join(",")})` });
    $("flag-table").append(node("tr", {}, node("td", {}, swatch, " ", flag.name), node("td", { class: "number" }, `${number(flag.percent, 3)} %`), node("td", { class: "soft" }, flag.meaning)));
  }
}
for (const figure of data.figures) {
  const sigma = figure.sigma === null ? "" : ` ± ${number(figure.sigma, 3)}`;
  $("figures").append(node("tr", {}, node("td", {}, figure.name), node("td", { class: "number" }, `${number(figure.value)}${sigma} ${figure.unit}`)));
}
if (data.residuals.length === 0) $("residual-card").remove();
for (const item of data.residuals) {
  const canvases = [node("canvas"), node("canvas"), node("canvas")];
  const images = [floats(item.captured), floats(item.rendered), floats(item.difference)];
  const top = item.scale;
  paint(canvases[0], images[0], item.width, item.height, data.grey, 0, top);
  paint(canvases[1], images[1], item.width, item.height, data.grey, 0, top);
  paint(canvases[2], images[2], item.width, item.height, data.diverging, -item.difference_scale, item.difference_scale);
  $("residuals").append(
    node("figcaption", {}, `LED ${item.led}: RMS difference ${number(item.rms_percent, 3)} % of the picture's mean; colour scale ± ${number(item.difference_percent, 3)} %`),
    node("div", { class: "triple" }, ...canvases));
}
$("provenance").append(...provenanceRows(data.provenance));

// ---- the surface in 3-D ------------------------------------------------------------------------
const view = $("view");
const mesh = data.mesh;
const [mw, mh] = [mesh.width, mesh.height];
const geometry = new THREE.BufferGeometry();
const positions = floats(mesh.position_mm);
const present = (i) => Number.isFinite(positions[3 * i + 2]);
const indices = [];
for (let r = 0; r + 1 < mh; r++) for (let c = 0; c + 1 < mw; c++) {
  const [a, b, d, e] = [r * mw + c, r * mw + c + 1, (r + 1) * mw + c, (r + 1) * mw + c + 1];
  if (present(a) && present(b) && present(d)) indices.push(a, d, b);
  if (present(b) && present(d) && present(e)) indices.push(b, d, e);
}
const vertexValues = floats(mesh.height_mm), vertexSigma = floats(mesh.sigma_um);
const paints = { 1: new Float32Array(3 * mw * mh), 2: new Float32Array(3 * mw * mh) };
for (let i = 0; i < mw * mh; i++) {
  paints[1].set(colour(data.viridis, (vertexValues[i] - heightLow) / (heightHigh - heightLow)).map((v) => v / 255), 3 * i);
  paints[2].set(colour(data.magma, (vertexSigma[i] - sigmaLow) / (sigmaHigh - sigmaLow)).map((v) => v / 255), 3 * i);
  if (!present(i)) positions.set([0, 0, mesh.centre_mm[2]], 3 * i);
}
geometry.setAttribute("position", new THREE.BufferAttribute(positions, 3));
geometry.setAttribute("normal", new THREE.BufferAttribute(floats(mesh.normal), 3));
geometry.setAttribute("heightColour", new THREE.BufferAttribute(paints[1], 3));
geometry.setAttribute("sigmaColour", new THREE.BufferAttribute(paints[2], 3));
geometry.setIndex(indices);
const material = new THREE.ShaderMaterial({
  side: THREE.DoubleSide,
  uniforms: { stretch: { value: 1 }, light: { value: new THREE.Vector3(0.4, 0.5, 0.77) }, gloss: { value: 0.3 }, mode: { value: 0 }, middle: { value: mesh.centre_mm[2] } },
  vertexShader: `
    attribute vec3 heightColour; attribute vec3 sigmaColour;
    uniform float stretch, middle; varying vec3 n, tint1, tint2, world, raw;
    void main() {
      vec3 p = vec3(position.xy, middle + (position.z - middle) * stretch);
      n = normalMatrix * normalize(vec3(normal.xy * stretch, normal.z));
      raw = normal; tint1 = heightColour; tint2 = sigmaColour;
      vec4 eye = modelViewMatrix * vec4(p, 1.0);
      world = eye.xyz; gl_Position = projectionMatrix * eye;
    }`,
  // One GGX lobe (Walter et al. 2007) under a light in the eye's frame, and a little of the sky.
  fragmentShader: `
    uniform vec3 light; uniform float gloss; uniform int mode; varying vec3 n, tint1, tint2, world, raw;
    void main() {
      vec3 normal = normalize(n) * (gl_FrontFacing ? 1.0 : -1.0), v = normalize(-world), l = normalize(light), h = normalize(l + v);
      float a2 = gloss * gloss, c = max(dot(normal, h), 0.0), d = c * c * (a2 - 1.0) + 1.0;
      float lobe = a2 / (d * d), cosine = max(dot(normal, l), 0.0);
      vec3 base = mode == 1 ? tint1 : mode == 2 ? tint2 : mode == 3 ? raw * 0.5 + 0.5 : vec3(0.78, 0.80, 0.83);
      float shine = mode == 0 ? 0.5 * lobe * cosine + 0.18 * cosine : 0.75 * cosine + 0.05 * lobe * cosine;
      vec3 light = base * (0.16 + 0.14 * normal.y + shine);
      gl_FragColor = vec4(mode == 3 ? base : pow(light / (1.0 + 0.25 * light), vec3(1.0 / 2.2)), 1.0);
    }`,
});
let drawn = "no WebGL";
try {
  const renderer = new THREE.WebGLRenderer({ canvas: view, antialias: true, preserveDrawingBuffer: true });
  renderer.setPixelRatio(window.devicePixelRatio || 1);
  const scene = new THREE.Scene();
  scene.background = new THREE.Color(0x10151c);
  scene.add(new THREE.Mesh(geometry, material));
  const camera = new THREE.PerspectiveCamera(35, 1, mesh.extent_mm / 100, mesh.extent_mm * 20);
  camera.up.set(0, 0, 1);
  const centre = new THREE.Vector3(...mesh.centre_mm);
  const controls = new THREE.OrbitControls(camera, view);
  controls.target.copy(centre);
  const look = (x, y, z) => { camera.position.copy(centre).add(new THREE.Vector3(x, y, z).multiplyScalar(mesh.extent_mm)); controls.update(); draw(); };
  const draw = () => {
    const [w, h] = [view.clientWidth, view.clientHeight];
    renderer.setSize(w, h, false);
    camera.aspect = w / h;
    camera.updateProjectionMatrix();
    renderer.render(scene, camera);
  };
  controls.addEventListener("change", draw);
  view.addEventListener("pointermove", (event) => {
    if (event.buttons) return;
    const box = view.getBoundingClientRect();
    const x = (2 * (event.clientX - box.left)) / box.width - 1, y = 1 - (2 * (event.clientY - box.top)) / box.height;
    const r = Math.min(0.98, Math.hypot(x, y)), s = r / Math.max(1e-6, Math.hypot(x, y));
    material.uniforms.light.value.set(x * s, y * s, Math.sqrt(1 - r * r));
    draw();
  });
  $("paint").addEventListener("change", () => { material.uniforms.mode.value = Number($("paint").value); draw(); });
  $("gloss").addEventListener("input", () => { material.uniforms.gloss.value = Number($("gloss").value); draw(); });
  $("exaggeration").addEventListener("input", () => {
    const factor = 10 ** Number($("exaggeration").value);
    material.uniforms.stretch.value = factor;
    $("exaggeration-value").textContent = factor.toFixed(1);
    draw();
  });
  $("top").addEventListener("click", () => look(0, -0.001, 1.7));
  window.addEventListener("resize", draw);
  look(0.5, -1.1, 0.9);
  // Proof for tests and for the reader of a broken driver: does the picture hold the surface?
  const gl = renderer.getContext();
  const pixels = new Uint8Array(4 * view.width * view.height);
  gl.readPixels(0, 0, view.width, view.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let covered = 0;
  for (let i = 0; i < pixels.length; i += 4) covered += Math.abs(pixels[i] - 0x10) + Math.abs(pixels[i + 1] - 0x15) > 24;
  drawn = `covers ${((400 * covered) / pixels.length).toFixed(1)} %`;
} catch (error) {
  view.replaceWith(node("p", { class: "bad" }, `This browser cannot draw the 3-D view (${error.message}); the maps below need no WebGL.`));
}
document.body.dataset.drawn = drawn;
