"use strict";
const $ = (id) => document.getElementById(id);
// The slider is logarithmic over what camera and board allow.
let limits = [1, 2e6];
const toExposure = (v) => Math.min(Math.max(limits[0] * (limits[1] / limits[0]) ** (v / 1000), limits[0]), limits[1]);
const fromExposure = (us) => 1000 * Math.log(us / limits[0]) / Math.log(limits[1] / limits[0]);
let best = 0, bestOf = "", built = false;
// A slider under somebody's hand is not moved; once it rests, it shows what is.
const moved = {};
const resting = (id) => performance.now() - (moved[id] ?? -1e9) > 1500;

async function wish(change) {
  const answer = await fetch("/live/wish", { method: "POST", body: JSON.stringify(change) });
  const state = await answer.json();
  if (state.error) $("fault").textContent = state.error; else show(state);
}

function show(state) {
  if (state.starting) { $("fault").textContent = state.fault || "…"; return; }
  if (!built) {
    built = true;
    for (let led = 0; led <= state.led_count; led++) {
      const button = document.createElement("button");
      button.textContent = led || "off";
      button.dataset.led = led;
      button.onclick = () => wish({ led });
      $("leds").append(button);
    }
    $("devices").textContent = `${state.camera} · ${state.board}`;
  }
  for (const button of $("leds").children) button.className = Number(button.dataset.led) === state.wish.led ? "on" : "";
  $("led-value").textContent = state.wish.led || "off";
  // Another browser may have asked, and the camera takes what it can: show what is.
  limits = state.exposure_limits_us;
  if (resting("level")) $("level").value = state.wish.level;
  if (resting("exposure")) $("exposure").value = fromExposure(state.exposure_us);
  if (resting("exposure")) $("exposure-value").textContent = inMs(state.exposure_us);
  $("fault").textContent = state.fault || "";
  $("note").textContent = state.note;
  $("count").textContent = state.count;
  const reading = state.reading;
  if (!reading) return;
  // Scores compare under the same light only.
  const light = [state.wish.led, state.wish.level, state.exposure_us, reading.width, reading.height].join();
  if (light !== bestOf) { best = 0; bestOf = light; }
  best = Math.max(best, reading.focus);
  $("clipped").textContent = `${reading.clipped_percent.toFixed(2)} %`;
  $("clipped").className = reading.clipped_percent > 0 ? "red" : "";
  $("maximum").textContent = `${reading.maximum} of ${reading.full_scale}`;
  $("mean").textContent = reading.mean.toFixed(1);
  $("focus").textContent = reading.focus.toFixed(4);
  $("best").textContent = best.toFixed(4);
  const context = $("histogram").getContext("2d"), bins = reading.histogram;
  const top = Math.log1p(Math.max(...bins)), w = 512 / bins.length;
  context.clearRect(0, 0, 512, 110);
  bins.forEach((n, i) => {
    context.fillStyle = i === bins.length - 1 ? "#ff6a5a" : "#8fc1ff";
    const h = (110 * Math.log1p(n)) / top;
    context.fillRect(i * w, 110 - h, w - 0.5, h);
  });
  document.body.dataset.frames = state.count;
}

const inMs = (us) => `${(us / 1000).toPrecision(3)} ms`;
$("exposure").oninput = () => { moved.exposure = performance.now(); $("exposure-value").textContent = inMs(toExposure($("exposure").value)); };
$("exposure").onchange = () => { delete moved.exposure; wish({ exposure_us: toExposure($("exposure").value) }); };
$("level").oninput = () => { moved.level = performance.now(); };
$("level").onchange = () => { delete moved.level; wish({ level: Number($("level").value) }); };
$("keep").onclick = async () => {
  const answer = await (await fetch("/live/keep", { method: "POST" })).json();
  $("kept").textContent = answer.said || answer.error;
};
$("reset").onclick = () => { best = 0; };
(async function poll() {
  try {
    show(await (await fetch("/live/state")).json());
  } catch (error) {
    $("fault").textContent = "The program has ended; start `rig serve` or `rig live` again.";
  }
  setTimeout(poll, 200);
})();
