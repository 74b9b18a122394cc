// The surface in 3-D: three.js, one GGX lobe, a box with ticks in mm, a light that stays put.
const HOME = { light: [0.35, 0.45], gloss: 0.3, exaggeration: 0 };
const MATERIAL = {
  vertexShader: `
    attribute vec3 heightColour; attribute vec3 sigmaColour;
    uniform float stretch, middle; uniform vec3 light; varying vec3 n, l, tint1, tint2, world, raw;
    void main() {
      vec3 p = vec3(position.xy, middle + (position.z - middle) * stretch);
      n = normalMatrix * normalize(vec3(normal.xy * stretch, normal.z));
      l = mat3(viewMatrix) * light; raw = normal; tint1 = heightColour; tint2 = sigmaColour;
      vec4 eye = modelViewMatrix * vec4(p, 1.0);
      world = eye.xyz; gl_Position = projectionMatrix * eye;
    }`,
  // One GGX lobe (Walter et al. 2007) under a light that stays with the part, and a little sky.
  fragmentShader: `
    uniform float gloss; uniform int mode; varying vec3 n, l, tint1, tint2, world, raw;
    void main() {
      vec3 normal = normalize(n) * (gl_FrontFacing ? 1.0 : -1.0), v = normalize(-world), to = normalize(l), h = normalize(to + v);
      float a2 = gloss * gloss, c = max(dot(normal, h), 0.0), d = c * c * (a2 - 1.0) + 1.0;
      float lobe = a2 / (d * d), cosine = max(dot(normal, to), 0.0);
      vec3 base = mode == 1 ? tint1 : mode == 2 ? tint2 : mode == 3 ? raw * 0.5 + 0.5 : vec3(0.78, 0.80, 0.83);
      float shine = mode == 0 ? 0.5 * lobe * cosine + 0.18 * cosine : 0.75 * cosine + 0.05 * lobe * cosine;
      vec3 seen = base * (0.16 + 0.14 * normal.z + shine);
      gl_FragColor = vec4(mode == 3 ? base : pow(seen / (1.0 + 0.25 * seen), vec3(1.0 / 2.2)), 1.0);
    }`,
};

function geometryOf(height, sigma, nx, ny) {
  const { width: w, height: h, step } = height, count = w * h, geometry = new THREE.BufferGeometry();
  const [positions, normals, tint1, tint2] = [0, 0, 0, 0].map(() => new Float32Array(3 * count));
  const low = [Infinity, Infinity, Infinity], high = low.map(() => -Infinity), z = height.values;
  const tint = (out, table, scale, v, i) => { const k = 3 * Math.max(0, Math.min(255, Math.round((255 * (v - scale.low)) / (scale.high - scale.low)) || 0)); for (let a = 0; a < 3; a++) out[3 * i + a] = table[k + a] / 255; };
  for (let r = 0, i = 0; r < h; r++) for (let c = 0; c < w; c++, i++) {
    if (z[i] !== z[i]) continue;
    const [x, y] = rays((c + 0.5) * step - 0.5, (r + 0.5) * step - 0.5, z[i]);
    [x, y, z[i]].forEach((value, k) => { positions[3 * i + k] = value; low[k] = Math.min(low[k], value); high[k] = Math.max(high[k], value); });
    const [a, b] = [nx.values[i] || 0, ny.values[i] || 0];
    normals.set([a, b, Math.sqrt(Math.max(0, 1 - a * a - b * b))], 3 * i);
    tint(tint1, data.viridis, data.map.scales.height, z[i], i);
    tint(tint2, data.magma, data.map.scales.sigma, sigma.values[i], i);
  }
  const index = new Uint32Array(6 * (w - 1) * (h - 1));
  let size = 0;
  for (let r = 0; r + 1 < h; r++) for (let c = 0; c + 1 < w; c++) {
    const a = r * w + c, b = a + 1, d = a + w, e = d + 1, mid = z[b] === z[b] && z[d] === z[d];
    if (mid && z[a] === z[a]) { index[size++] = a; index[size++] = d; index[size++] = b; }
    if (mid && z[e] === z[e]) { index[size++] = b; index[size++] = d; index[size++] = e; }
  }
  for (const [name, values] of [["position", positions], ["normal", normals], ["heightColour", tint1], ["sigmaColour", tint2]]) geometry.setAttribute(name, new THREE.BufferAttribute(values, 3));
  geometry.setIndex(new THREE.BufferAttribute(index.slice(0, size), 1));
  if (!size) throw new Error("there is no surface to draw");
  return { geometry, low: new THREE.Vector3(...low), high: new THREE.Vector3(...high) };
}

async function view3d() {
  const canvas = $("view"), parts = await Promise.all([maps.height, maps.sigma, maps.nx, maps.ny].map((map) => map.overview()));
  await pause();
  const { geometry, low, high } = geometryOf(...parts);
  const light = kept.get("light", HOME.light), centre = low.clone().add(high).multiplyScalar(0.5), extent = Math.max(high.x - low.x, high.y - low.y, high.z - low.z) || 1;
  const uniforms = { stretch: { value: 1 }, light: { value: new THREE.Vector3() }, gloss: { value: HOME.gloss }, mode: { value: 0 }, middle: { value: centre.z } };
  await pause();
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  renderer.setPixelRatio(Math.min(2, window.devicePixelRatio || 1));
  renderer.setClearColor(0, 0);
  const scene = new THREE.Scene(), camera = new THREE.PerspectiveCamera(35, 1, extent / 100, extent * 40), controls = new THREE.OrbitControls(camera, canvas);
  const surface = new THREE.Mesh(geometry, new THREE.ShaderMaterial({ side: THREE.DoubleSide, uniforms, ...MATERIAL }));
  surface.frustumCulled = false;
  scene.add(surface);
  camera.up.set(0, 0, 1);
  controls.enableZoom = false; // until the view has the focus: else the page scrolls
  canvas.addEventListener("focus", () => { controls.enableZoom = true; });
  canvas.addEventListener("blur", () => { controls.enableZoom = false; });
  canvas.addEventListener("pointerdown", (event) => { canvas.focus({ preventScroll: true }); if (event.pointerType === "touch") controls.enableZoom = true; });
  const stretched = (z) => centre.z + (z - centre.z) * uniforms.stretch.value;
  const corner = (x, y, z) => new THREE.Vector3(x ? high.x : low.x, y ? high.y : low.y, stretched(z ? high.z : low.z));

  let waiting = false;
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } };
  function draw() {
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (!w || !h) return;
    renderer.setSize(w, h, false);
    camera.aspect = w / h;
    camera.updateProjectionMatrix();
    renderer.render(scene, camera);
    labels(w, h);
    canvas.dataset.eye = camera.position.toArray().map((v) => v.toFixed(1)).join(" "); // mm: where it is seen from
  }

  // The box about the surface: the edges nearest to the reader carry ticks and words.
  function labels(w, h) {
    const parts = [], place = (p) => { const q = p.clone().project(camera); return [((q.x + 1) * w) / 2, ((1 - q.y) * h) / 2]; };
    const path = (points, kind = "axis", more = {}) => parts.push(svg("path", { class: kind, d: `M${points.map((p) => place(p).map((v) => v.toFixed(1)).join(" ")).join("L")}`, ...more }));
    const word = (p, text, dx = 0, dy = 0, more = {}) => { const [x, y] = place(p); parts.push(svg("text", { x: x + dx, y: y + dy, "text-anchor": "middle", ...more }, text)); };
    const base = [[0, 0], [1, 0], [1, 1], [0, 1]].map(([x, y]) => corner(x, y, 0));
    path([...base, base[0]]);
    const lower = (p, q) => (place(p)[1] > place(q)[1] ? 0 : 1), middle = (a, b) => a.clone().add(b).multiplyScalar(0.5);
    const front = lower(middle(base[0], base[1]), middle(base[3], base[2])), side = lower(middle(base[0], base[3]), middle(base[1], base[2]));
    const outward = { x: front ? 1 : -1, y: side ? 1 : -1 }, gap = 0.035 * extent;
    for (const axis of ["x", "y"]) {
      const at = (t, off = 0) => { const p = axis === "x" ? corner(0, front, 0) : corner(side, 0, 0); p[axis] = t; p[axis === "x" ? "y" : "x"] += off * (axis === "x" ? outward.x : outward.y); return p; };
      for (const tick of ticks(low[axis], high[axis], 5)) { path([at(tick.value), at(tick.value, gap)]); word(at(tick.value, 2.3 * gap), tick.text, 0, 4); }
      // An arrow along the axis, beyond the ticks.
      const [from, to] = [low[axis] + 0.36 * (high[axis] - low[axis]), low[axis] + 0.64 * (high[axis] - low[axis])], head = 0.03 * extent;
      const back = (off) => at(to - head, off);
      path([at(from, 4.2 * gap), at(to, 4.2 * gap)]);
      path([back(4.2 * gap - head / 2), at(to, 4.2 * gap), back(4.2 * gap + head / 2)]);
      word(at(to + head, 4.2 * gap), `${axis}, mm`, 4, 4, { style: "font-weight:600" });
    }
    const posts = [[0, 0], [1, 0], [1, 1], [0, 1]].map(([x, y]) => [corner(x, y, 0), corner(x, y, 1)]);
    const [foot, top] = posts.reduce((best, post) => (place(post[0])[0] < place(best[0])[0] ? post : best));
    if (Math.abs(place(foot)[1] - place(top)[1]) > 24) {
      path([foot, top]);
      for (const tick of ticks(low.z, high.z, 4)) { const p = foot.clone(); p.z = stretched(tick.value); const [x, y] = place(p); parts.push(svg("path", { class: "axis", d: `M${x} ${y}h-5` }), svg("text", { x: x - 8, y: y + 4, "text-anchor": "end" }, tick.text)); }
      word(top, "z, mm", 0, -8, { style: "font-weight:600" });
    }
    // A scale bar: its length holds in the middle of the view.
    const right = new THREE.Vector3().setFromMatrixColumn(camera.matrixWorld, 0), across = place(controls.target.clone().add(right)), here = place(controls.target), per = Math.hypot(across[0] - here[0], across[1] - here[1]);
    const bar = roundDown(w / 5 / per);
    parts.push(svg("path", { class: "axis", "stroke-width": 2, d: `M14 ${h - 20}v6h${bar * per}v-6` }), svg("text", { x: 14, y: h - 26 }, `${bar} mm in the middle${uniforms.stretch.value > 1.005 ? `, heights × ${uniforms.stretch.value.toFixed(1)}` : ""}`));
    $("view-labels").replaceChildren(...parts);
  }

  // As near as the whole box stays in the window, seen from where it is seen.
  function fit() {
    const away = camera.position.clone().sub(controls.target).normalize(), size = camera.aspect ? [Math.tan((35 * Math.PI) / 360) * camera.aspect, Math.tan((35 * Math.PI) / 360)] : [1, 1];
    controls.target.copy(centre);
    camera.aspect = canvas.clientWidth / Math.max(1, canvas.clientHeight);
    size[0] = size[1] * camera.aspect;
    const z = away, x = new THREE.Vector3().crossVectors(camera.up, z).normalize(), y = new THREE.Vector3().crossVectors(z, x);
    let far = 0;
    for (let k = 0; k < 8; k++) {
      const p = corner(k & 1, k & 2, k & 4).sub(centre);
      far = Math.max(far, p.dot(z) + Math.abs(p.dot(x)) / (0.82 * size[0]), p.dot(z) + Math.abs(p.dot(y)) / (0.8 * size[1]));
    }
    camera.position.copy(centre).addScaledVector(away, far);
    controls.update();
    soon();
  }
  const from = (x, y, z) => { controls.target.copy(centre); camera.position.copy(centre).add(new THREE.Vector3(x, y, z).multiplyScalar(extent)); fit(); };
  const turn = (a, b) => {
    const s = new THREE.Spherical().setFromVector3(camera.position.clone().sub(controls.target).applyAxisAngle(new THREE.Vector3(1, 0, 0), -Math.PI / 2));
    s.theta += a;
    s.phi = Math.max(0.01, Math.min(Math.PI - 0.01, s.phi + b));
    camera.position.copy(controls.target).add(new THREE.Vector3().setFromSpherical(s).applyAxisAngle(new THREE.Vector3(1, 0, 0), Math.PI / 2));
    controls.update();
    soon();
  };
  const nearer = (factor) => { camera.position.sub(controls.target).divideScalar(factor).add(controls.target); controls.update(); soon(); };

  function lit(x, y, keep = true) {
    const r = Math.hypot(x, y), s = r > 0.98 ? 0.98 / r : 1;
    [light[0], light[1]] = [x * s, y * s];
    uniforms.light.value.set(light[0], light[1], Math.sqrt(1 - Math.min(1, light[0] ** 2 + light[1] ** 2)));
    $("light-dot").setAttribute("cx", 46 * light[0]);
    $("light-dot").setAttribute("cy", -46 * light[1]);
    const tilt = (Math.asin(Math.min(1, Math.hypot(...light))) * 180) / Math.PI;
    $("light").setAttribute("aria-valuenow", tilt.toFixed(0));
    $("light").setAttribute("aria-valuetext", `${tilt.toFixed(0)}° from above, towards x ${light[0].toFixed(2)}, y ${light[1].toFixed(2)}`);
    if (keep) kept.set("light", [...light]);
    soon();
  }
  const pad = $("light"), put = (event) => { const box = pad.getBoundingClientRect(); lit((event.clientX - box.left - box.width / 2) / (0.46 * box.width), -(event.clientY - box.top - box.height / 2) / (0.46 * box.height)); };
  pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); pad.held = true; put(event); });
  pad.addEventListener("pointermove", (event) => { if (pad.held) put(event); });
  for (const type of ["pointerup", "pointercancel"]) pad.addEventListener(type, () => { pad.held = false; });
  pad.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] }[event.key];
    if (move) { event.preventDefault(); lit(light[0] + move[0], light[1] + move[1]); }
  });

  function stretch(power) {
    $("exaggeration").value = power;
    uniforms.stretch.value = 10 ** power;
    $("exaggeration-value").textContent = (10 ** power).toFixed(1);
    soon();
  }
  const shine = (gloss) => { $("gloss").value = gloss; uniforms.gloss.value = gloss; soon(); };
  const reset = () => { stretch(HOME.exaggeration); shine(HOME.gloss); lit(...HOME.light); $("paint").value = "0"; uniforms.mode.value = 0; from(0.5, -1.1, 0.9); };
  controls.addEventListener("change", soon);
  $("paint").addEventListener("change", () => { uniforms.mode.value = Number($("paint").value); soon(); });
  $("gloss").addEventListener("input", () => shine(Number($("gloss").value)));
  $("exaggeration").addEventListener("input", () => stretch(Number($("exaggeration").value)));
  $("top").addEventListener("click", () => from(0, -0.001, 1));
  $("fit").addEventListener("click", fit);
  $("reset").addEventListener("click", reset);
  canvas.addEventListener("keydown", (event) => {
    const act = {
      ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, -0.1), ArrowDown: () => turn(0, 0.1),
      "+": () => nearer(1.15), "=": () => nearer(1.15), "-": () => nearer(1 / 1.15), f: fit, 0: fit, r: reset,
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  new ResizeObserver(soon).observe(canvas);
  const paper = node("canvas", { class: "paper" }); // printers miss what WebGL has drawn just now
  canvas.before(paper);
  addEventListener("beforeprint", () => { Object.assign($("view-box").style, { width: "660px", height: "380px" }); fit(); draw(); paper.width = canvas.width; paper.height = canvas.height; paper.getContext("2d").drawImage(canvas, 0, 0); });
  addEventListener("afterprint", () => { Object.assign($("view-box").style, { width: "", height: "" }); fit(); });
  lit(...light, false);
  from(0.5, -1.1, 0.9);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  // Proof for tests and for the reader of a broken driver: does the picture hold the surface?
  const gl = renderer.getContext(), pixels = new Uint8Array(4 * canvas.width * 8);
  let covered = 0;
  for (let k = 0; k < 8; k++) {
    gl.readPixels(0, Math.floor((canvas.height * (k + 0.5)) / 8), canvas.width, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixels.subarray(0, 4 * canvas.width));
    for (let i = 3; i < 4 * canvas.width; i += 4) covered += pixels[i] > 0;
  }
  document.body.dataset.drawn = `covers ${((100 * covered) / (8 * canvas.width)).toFixed(1)} %`;
}
