"use strict";
// Keeps what the reader puts into the report in the frame. Notes are sent one after another, the
// newest last, and a little after the last key.
const frame = document.getElementById("report"), said = document.getElementById("kept");
let waiting = null, timer = 0, sending = false;

async function send() {
  if (sending || waiting === null) return;
  const state = waiting;
  [sending, waiting] = [true, null];
  let kept = false;
  try {
    kept = (await fetch(frame.dataset.keep, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(state), keepalive: true })).ok;
  } catch { /* told below */ }
  said.textContent = kept ? said.dataset.kept : said.dataset.lost;
  said.className = kept ? "" : "refusal";
  sending = false;
  send();
}

addEventListener("message", (event) => {
  if (event.source !== frame.contentWindow || typeof event.data?.["rig-report"] !== "object") return;
  waiting = event.data["rig-report"];
  clearTimeout(timer);
  timer = setTimeout(send, 300);
});
addEventListener("pagehide", () => { clearTimeout(timer); send(); });
