theme($("theme"));

$("title").textContent = data.title;
$("subtitle").textContent = data.subtitle;
for (const tile of data.tiles) {
  $("tiles").append(node("div", { class: "tile" }, node("b", {}, tile.value), node("span", {}, tile.name)));
}
const missing = Object.entries(data.missing);
if (missing.length === 0) $("missing-card").remove();
else for (const [id, reason] of missing) $("missing").append(node("tr", {}, node("td", {}, `LED ${id}`), node("td", {}, reason)));
$("provenance").append(...provenanceRows(data.provenance));

// Green for the best light, red for the worst; logarithmic.
const sigmas = data.leds.map((led) => Math.max(led.sigma_mm, 1e-6));
const [least, greatest] = [Math.min(...sigmas), Math.max(...sigmas)];
function badness(sigma) {
  const t = greatest > least * 1.001 ? Math.log(sigma / least) / Math.log(greatest / least) : 0;
  return `hsl(${Math.round(130 * (1 - t))}, 65%, 45%)`;
}

// The dome ------------------------------------------------------------------------------------
function dome() {
  const canvas = $("view");
  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  } catch {
    canvas.replaceWith(node("p", { class: "soft" }, "This browser draws no 3-D (WebGL); the table below has every figure."));
    return;
  }
  const scene = new THREE.Scene();
  const reach = Math.max(...data.leds.map((led) => Math.hypot(...led.position_mm)));
  const view = new THREE.PerspectiveCamera(35, 2, reach / 100, reach * 20);
  view.up.set(0, 0, 1);
  const controls = new THREE.OrbitControls(view, canvas);
  controls.target.set(0, 0, reach * 0.4);
  scene.add(new THREE.HemisphereLight(0xffffff, 0x667788, 3));
  const grid = new THREE.GridHelper(reach, 10, 0x8899aa, 0xc4ccd4);
  grid.rotation.x = Math.PI / 2;
  scene.add(grid, new THREE.AxesHelper(reach * 0.2));
  const eye = data.camera.centre_mm;
  const camera = new THREE.Mesh(new THREE.BoxGeometry(reach * 0.08, reach * 0.08, reach * 0.1), new THREE.MeshStandardMaterial({ color: 0x445566 }));
  camera.position.set(...eye);
  if (Math.hypot(...eye) < reach * 6) scene.add(camera);
  for (const pose of data.poses) {
    const ball = new THREE.Mesh(new THREE.SphereGeometry(data.radius_mm, 24, 16), new THREE.MeshStandardMaterial({ color: 0x99aabb, roughness: 0.3, transparent: true, opacity: 0.6 }));
    ball.position.set(...pose.centre_mm);
    scene.add(ball);
  }
  const unit = new THREE.SphereGeometry(1, 20, 14);
  const blobs = data.leds.map((led, k) => {
    const material = new THREE.MeshStandardMaterial({ color: new THREE.Color(badness(sigmas[k])), roughness: 0.7 });
    const mesh = new THREE.Mesh(unit, material);
    const { axes } = data.ellipsoids[k];
    mesh.quaternion.setFromRotationMatrix(new THREE.Matrix4().set(
      axes[0][0], axes[1][0], axes[2][0], 0, axes[0][1], axes[1][1], axes[2][1], 0, axes[0][2], axes[1][2], axes[2][2], 0, 0, 0, 0, 1));
    mesh.position.set(...led.position_mm);
    scene.add(mesh);
    const centre = new THREE.Mesh(unit, material);
    centre.position.set(...led.position_mm);
    centre.scale.setScalar(reach * 0.006);
    scene.add(centre);
    return mesh;
  });
  function draw() {
    const box = canvas.getBoundingClientRect();
    renderer.setPixelRatio(window.devicePixelRatio);
    renderer.setSize(box.width, box.height, false);
    view.aspect = box.width / Math.max(1, box.height);
    view.updateProjectionMatrix();
    renderer.render(scene, view);
  }
  function scale() {
    const factor = 10 ** Number($("scale").value);
    $("scale-value").textContent = factor.toFixed(0);
    blobs.forEach((mesh, k) => mesh.scale.set(...data.ellipsoids[k].sigma_mm.map((s) => Math.max(s * factor, reach * 0.002))));
    draw();
  }
  const look = (x, y, z) => { view.position.set(x * reach, y * reach, z * reach); controls.update(); draw(); };
  $("top").onclick = () => look(0, -0.01, 3.6);
  $("side").onclick = () => look(0, -3.2, 0.6);
  $("scale").oninput = scale;
  controls.addEventListener("change", draw);
  const picker = new THREE.Raycaster();
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    picker.setFromCamera(new THREE.Vector2((2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height), view);
    const hit = picker.intersectObjects(blobs)[0];
    if (!hit) return;
    const led = data.leds[blobs.indexOf(hit.object)];
    $("picked").textContent = `LED ${led.id}: ${led.position_mm.map((v) => v.toFixed(2)).join(", ")} mm, one sigma ${number(led.sigma_mm, 3)} mm`;
  });
  new ResizeObserver(draw).observe(canvas);
  look(1.8, -2.2, 1.5);
  scale();
}
dome();

// Residuals and coverage ----------------------------------------------------------------------
function prepared(canvas, width, height) {
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d");
}

function traced(context, points, place) {
  context.beginPath();
  points.forEach((p, i) => (i ? context.lineTo(...place(p)) : context.moveTo(...place(p))));
  context.closePath();
}

const ink = getComputedStyle(document.body).color;
const figures = data.poses.map((pose) => {
  const canvas = node("canvas", { class: "map", style: "image-rendering: auto; cursor: default" });
  $("residuals").append(node("figure", {}, canvas, node("figcaption", { class: "soft" }, `${pose.name}: ${number(pose.rms_px, 3)} px`)));
  return canvas;
});

function residuals() {
  const gain = 10 ** Number($("arrows").value);
  $("arrows-value").textContent = gain.toFixed(0);
  data.poses.forEach((pose, k) => {
    const xs = pose.outline.map((p) => p[0]);
    const ys = pose.outline.map((p) => p[1]);
    const [x0, y0] = [Math.min(...xs), Math.min(...ys)];
    const size = 420;
    const zoom = (size - 20) / Math.max(Math.max(...xs) - x0, Math.max(...ys) - y0);
    const place = (p) => [10 + (p[0] - x0) * zoom, 10 + (p[1] - y0) * zoom];
    const context = prepared(figures[k], size, size);
    context.strokeStyle = "#9aa5b1";
    traced(context, pose.outline, place);
    context.stroke();
    pose.pixels.forEach((pixel, i) => {
      const [x, y] = place(pixel);
      const [dx, dy] = pose.residuals[i].map((v) => v * gain * zoom);
      context.strokeStyle = context.fillStyle = pose.used[i] ? "#2563a8" : "#c0392b";
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(x, y, 2, 0, 2 * Math.PI);
      context.fill();
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + Math.max(-80, Math.min(80, dx)), y + Math.max(-80, Math.min(80, dy)));
      context.stroke();
    });
  });
}
$("arrows").oninput = residuals;
residuals();

function coverage() {
  const { width, height } = data.camera;
  const zoom = 640 / Math.max(width, height);
  const context = prepared($("coverage"), Math.round(width * zoom), Math.round(height * zoom));
  context.strokeStyle = "#9aa5b1";
  context.strokeRect(0.5, 0.5, width * zoom - 1, height * zoom - 1);
  context.font = "16px sans-serif";
  for (const pose of data.poses) {
    const place = (p) => [p[0] * zoom, p[1] * zoom];
    traced(context, pose.outline, place);
    context.fillStyle = "rgba(37, 99, 168, 0.18)";
    context.fill();
    context.strokeStyle = "#2563a8";
    context.stroke();
    context.fillStyle = "#2563a8";
    for (const pixel of pose.pixels) context.fillRect(pixel[0] * zoom - 1, pixel[1] * zoom - 1, 2, 2);
    context.fillStyle = ink;
    const xs = pose.outline.map((p) => p[0]);
    const ys = pose.outline.map((p) => p[1]);
    context.fillText(pose.name, Math.min(...xs) * zoom, (Math.min(...ys) - 4) * zoom);
  }
}
coverage();

// Tables --------------------------------------------------------------------------------------
function percent(value) {
  return value === null || value === undefined ? "–" : number(100 * value, 3);
}

$("poses").append(node("tr", {}, ...["place", "residual px", "held out px", "outline seen %", "outline px"].map((t) => node("th", {}, t))));
for (const pose of data.poses) {
  const cells = [pose.name, number(pose.rms_px, 3), number(pose.held_out_px, 3), percent(pose.coverage), number(pose.outline_rms_px, 3)];
  $("poses").append(node("tr", {}, ...cells.map((t) => node("td", {}, t))));
}

const columns = [
  ["LED", (led) => led.id, (led) => String(led.id)],
  ["x mm", (led) => led.position_mm[0], (led) => led.position_mm[0].toFixed(2)],
  ["y mm", (led) => led.position_mm[1], (led) => led.position_mm[1].toFixed(2)],
  ["z mm", (led) => led.position_mm[2], (led) => led.position_mm[2].toFixed(2)],
  ["sigma mm", (led) => led.sigma_mm, (led) => number(led.sigma_mm, 3)],
  ["places", (led) => led.poses, (led) => (led.rejected ? `${led.poses} (−${led.rejected})` : String(led.poses))],
  ["residual px", (led) => led.rms_px ?? -1, (led) => number(led.rms_px, 3)],
  ["power", (led) => led.power ?? -1, (led) => number(led.power)],
  ["± %", (led) => led.power_sigma ?? -1, (led) => percent(led.power_sigma)],
  ["plate %", (led) => led.plate_rms ?? -1, (led) => percent(led.plate_rms)],
  ["off stage °", (led) => led.axis_deg ?? -1, (led) => number(led.axis_deg, 3)],
  ["note", (led) => led.note, (led) => led.note],
];

function table(key, descending) {
  const sign = descending ? -1 : 1;
  const rows = [...data.leds].sort((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0));
  const head = node("tr", {}, ...columns.map(([name, value]) => {
    const cell = node("th", { style: "cursor: pointer" }, name);
    cell.onclick = () => table(value, value === key ? !descending : false);
    return cell;
  }));
  $("leds").replaceChildren(head, ...rows.map((led) => node("tr", {}, ...columns.map(([, , text]) => node("td", {}, text(led))))));
}
table(columns[0][1], false);
