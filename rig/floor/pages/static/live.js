"use strict";
const $ = (id) => document.getElementById(id);
// The slider is logarithmic, 50 µs to 500 ms.
const toExposure = (v) => 50 * 10 ** (v / 250), fromExposure = (us) => 250 * Math.log10(us / 50);
let best = 0, bestOf = "", built = false, touching = false;

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
  if (document.activeElement !== $("level")) $("level").value = state.wish.level;
  if (!touching) $("exposure").value = fromExposure(state.exposure_us);
  if (!touching) $("exposure-value").textContent = `${(state.exposure_us / 1000).toFixed(2)} ms`;
  $("fault").textContent = state.fault || "";
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

$("exposure").oninput = () => { touching = true; $("exposure-value").textContent = `${(toExposure($("exposure").value) / 1000).toFixed(2)} ms`; };
$("exposure").onchange = () => { touching = false; wish({ exposure_us: toExposure($("exposure").value) }); };
$("level").onchange = () => wish({ level: Number($("level").value) });
$("reset").onclick = () => { best = 0; };
(async function poll() {
  try {
    show(await (await fetch("/live/state")).json());
  } catch (error) {
    $("fault").textContent = "The program has ended; start `rig serve` or `rig live` again.";
  }
  setTimeout(poll, 200);
})();
