// Notes that the reader pins to places of the maps; they stay in this browser.
const notes = {
  list: kept.get("notes", []).filter((n) => n && Number.isFinite(n.u) && Number.isFinite(n.v)),
  placing: false,

  arm(on) {
    this.placing = on;
    $("add-note").setAttribute("aria-pressed", String(on));
    for (const view of look.views) view.stage.classList.toggle("placing", on);
    if (on) $("readout").textContent = "Click the place of the note, or press Enter on a map: its middle is taken.";
  },

  placed(u, v) {
    if (!this.placing) return;
    this.arm(false);
    this.list.push({ u, v, text: "" });
    this.changed();
    $("notes").querySelector("li:last-child input").focus();
  },

  changed() {
    kept.set("notes", this.list);
    $("notes").replaceChildren(...this.list.map((note, k) => {
      const [x, y] = rays(note.u, note.v, data.map.mean_mm);
      const text = node("input", { value: note.text, "aria-label": `Note ${k + 1}`, placeholder: "what is to be seen here" });
      text.addEventListener("input", () => { note.text = text.value; kept.set("notes", this.list); });
      const drop = node("button", { type: "button", "aria-label": `Remove note ${k + 1}` }, "×");
      drop.addEventListener("click", () => { this.list.splice(k, 1); this.changed(); });
      return node("li", {}, node("span", { class: "soft" }, `x ${number(x)}, y ${number(y)} mm `), text, " ", drop);
    }));
    look.changed();
  },

  mark(view) {
    if (!view.pins) view.marks.append((view.pins = svg("g")));
    view.pins.replaceChildren(...this.list.map((note, k) => {
      const [x, y] = view.out(note.u, note.v);
      return svg("g", { transform: `translate(${x} ${y})` }, svg("path", { d: "M0 0L-6 -12A9 9 0 1 1 6 -12Z", fill: "#f6a800", stroke: "#4a3500" }), svg("text", { y: -13, "text-anchor": "middle", style: "fill:#111;font-weight:700" }, String(k + 1)));
    }));
  },
};
