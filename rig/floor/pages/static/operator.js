"use strict";
// The operator's page: what the server tells of its state, shown at once.
const $ = (id) => document.getElementById(id);
const words = JSON.parse($("words").textContent);
const say = (text) => words[text] || text;
const look = { good: "good", "out of tolerance": "bad", "in between": "between", "not sufficient": "unknown", failed: "bad", stopped: "unknown" };
let shown = "", asked = 0, busy = false;

function line(text, ...more) {
  const item = document.createElement("li"), span = document.createElement("span");
  span.textContent = text;
  item.append(span, ...more);
  return item;
}

function badge(text) {
  const span = document.createElement("span");
  span.className = `badge ${look[text] || ""}`;
  span.textContent = say(text);
  return span;
}

const outcome = (ticket) => (ticket.state === "done" ? ticket.verdict.verdict : ticket.state);

function verdict(text, which, kind) {
  $("word").textContent = text;
  $("which").textContent = which;
  $("verdict").className = `verdict ${kind || "plain"}`;
}

async function detail(ticket) {
  $("detail").replaceChildren();
  if (ticket.state !== "done") {
    const note = document.createElement("p");
    note.className = "refusal";
    note.textContent = say(ticket.error);
    $("detail").append(note);
    return;
  }
  const answer = await fetch(`/latest/${encodeURIComponent(ticket.part)}`);
  if (answer.ok) $("detail").innerHTML = await answer.text();
  if (ticket.note) $("detail").append(ticket.note);
}

function preview(current) {
  $("preview").hidden = !current || current.state !== "capturing" || !current.taken;
  if ($("preview").hidden || Date.now() - asked < 250) return;
  asked = Date.now();
  $("picture").src = `/preview.jpg?picture=${current.number}-${current.taken}`;
}

function show(state) {
  const current = state.current, last = state.finished[0];
  busy = Boolean(current);
  $("progress").hidden = !current;
  $("step").textContent = "";
  if (current) {
    const word = state.stopping ? "stopping" : current.state;
    if (current.preview && !state.stopping) verdict(say(current.preview), `${current.part}: ${say("at a quick look; the verdict follows")}`, look[current.preview]);
    else verdict(say(word), current.part);
    if (current.pictures && current.state === "capturing") {
      $("progress").max = current.pictures;
      $("progress").value = current.taken;
      $("step").textContent = `${say("Pictures")}: ${current.taken} / ${current.pictures}`;
    } else $("progress").removeAttribute("value");
    $("detail").replaceChildren();
    shown = "";
  } else if (last) {
    verdict(say(outcome(last)), last.part, look[outcome(last)]);
    if (shown !== `${last.number}`) {
      shown = `${last.number}`;
      detail(last);
    }
  } else verdict(say("Ready"), "");
  preview(current);
  $("queue").replaceChildren(...state.queue.map((ticket) => {
    const out = document.createElement("button");
    out.textContent = say("Take out");
    out.setAttribute("aria-label", `${say("Take out")} ${ticket.part}`);
    out.onclick = () => fetch(`/api/measurements/${ticket.number}`, { method: "DELETE" });
    return line(ticket.part, out);
  }));
  if (!state.queue.length) $("queue").append(line(say("Nothing waits.")));
  $("finished").replaceChildren(...state.finished.slice(0, 10).map((t) => line(t.part, badge(outcome(t)))));
}

$("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const order = Object.fromEntries(new FormData($("start")));
  const answer = await fetch("/api/measurements", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order) });
  const said = await answer.json();
  $("refusal").textContent = answer.ok ? "" : said.error || JSON.stringify(said.detail);
  $("part").focus();
  if (answer.ok) $("part").value = ""; else $("part").select();
});
$("halt").addEventListener("submit", (event) => { event.preventDefault(); fetch("/api/stop", { method: "POST" }); });
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && busy) fetch("/api/stop", { method: "POST" }); });
for (const id of ["operator", "batch", "part_type"]) {
  const kept = sessionStorage.getItem(id);
  if (kept !== null) $(id).value = kept;
  $(id).addEventListener("change", () => sessionStorage.setItem(id, $(id).value));
}
show(JSON.parse($("state").textContent));
const source = new EventSource("/events");
source.addEventListener("state", (event) => { if ($("refusal").dataset.lost) { $("refusal").textContent = ""; delete $("refusal").dataset.lost; } show(JSON.parse(event.data)); });
source.onerror = () => { $("refusal").dataset.lost = "1"; $("refusal").textContent = say("The connection to the rig is lost."); };
addEventListener("pagehide", () => source.close());
