"use strict";

// The list of tests

const rows = [...document.querySelectorAll("#test-table tbody tr")];
const filter = document.getElementById("filter");
const failedOnly = document.getElementById("failed-only");

function showTests() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const fits = words.every((word) => text.includes(word));
    row.hidden = !fits || (failedOnly.checked && row.dataset.status === "passed");
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("shown").textContent = `${shown} shown`;
}
filter.addEventListener("input", showTests);
failedOnly.addEventListener("change", showTests);
document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());

// A link to a test that the filter hides shows it.
function showTest(hash) {
  const row = rows.find((each) => "#" + each.id === hash);
  if (!row || !row.hidden) return;
  filter.value = "";
  failedOnly.checked = false;
  showTests();
  row.scrollIntoView();
}
window.addEventListener("hashchange", () => showTest(location.hash));

// Commands to copy

for (const button of document.querySelectorAll("button.copy")) {
  const label = button.getAttribute("aria-label");
  let timer;
  const say = (word) => {
    button.textContent = word.toLowerCase();
    button.setAttribute("aria-label", label.replace("Copy", word));
  };
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      say("Copied");
    } catch {
      getSelection().selectAllChildren(code);
      say("Selected");
    }
    clearTimeout(timer);
    timer = setTimeout(say, 2000, "Copy");
  });
}

// Waveforms

const SVG = "http://www.w3.org/2000/svg";
const TOP = 26; // for the cycles
const LANE = 26;
const CHARACTER = 7.3; // pixels, about
const ROW = 110; // pixels, of those around the moment
const SINGLE = ["guest", "hypervisor", "exception", "PC"]; // lanes with a box for each row

function made(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

const drawn = JSON.parse(document.getElementById("data").textContent);

// What `tb.page.packed` has packed.
function unpacked(packed) {
  let cycle = packed.first;
  const cycles = packed.cycles.map((more) => (cycle += more));
  const lanes = packed.lanes.map(([name, runs]) => {
    const values = [];
    for (const number of runs) {
      if (number >= 0) values.push(drawn.texts[number]);
      else for (let n = number; n < 0; n += 1) values.push(values[values.length - 1]);
    }
    return [name, values];
  });
  return { ...packed, cycles, lanes };
}

class Wave {
  constructor(box) {
    const data = unpacked(drawn.waves[Number(box.dataset.wave)]);
    this.data = data;
    box.append(document.getElementById("wave-template").content.cloneNode(true));
    const keys = box.querySelector(".keys");
    keys.id = `keys-${box.dataset.wave}`;
    keys.querySelector("strong").textContent = box.dataset.cut;
    box.querySelector("[data-do=moment]").textContent = `${data.what} (m)`;
    this.picture = box.querySelector(".picture");
    this.picture.setAttribute("aria-label", `Waveform of ${box.dataset.title}`);
    this.picture.setAttribute("aria-describedby", keys.id);
    this.values = box.querySelector(".cursor");
    this.rows = data.cycles.length;
    this.begin = data.cycles.map((_, n) => (n ? data.cycles[n - 1] + 1 : data.first));
    this.end = data.cycles.map((cycle) => cycle + 1);
    this.at = data.moment;
    this.height = TOP + LANE * data.lanes.length + 8;
    this.svg = made(this.picture, "svg", { height: this.height, "aria-hidden": "true" });
    this.toMoment(false);
    box.querySelector(".controls").addEventListener("click", (event) => this.press(event));
    this.picture.addEventListener("keydown", (event) => this.key(event));
    this.picture.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.picture.addEventListener("pointerdown", (event) => this.grab(event));
    this.picture.addEventListener("pointermove", (event) => this.drag(event));
    this.picture.addEventListener("pointerup", (event) => this.drop(event));
    this.picture.addEventListener("pointercancel", () => { this.grabbed = null; });
    new ResizeObserver(() => this.draw()).observe(this.picture);
    this.tell();
  }

  get first() { return this.begin[0]; }
  get last() { return this.end[this.rows - 1]; }
  get left() { return this.picture.clientWidth < 500 ? 96 : 104; } // for the names
  get width() { return Math.max(60, this.picture.clientWidth - this.left); }

  x(cycle) { return this.left + ((cycle - this.from) / this.span) * this.width; }
  cycle(x) { return this.from + ((x - this.left) / this.width) * this.span; }

  view(from, span) {
    this.span = Math.min(Math.max(span, 2), this.last - this.first);
    this.from = Math.min(Math.max(from, this.first), this.last - this.span);
    this.draw();
  }

  zoom(factor, around) {
    const fixed = around ?? (this.begin[this.at] + this.end[this.at]) / 2;
    const inside = fixed >= this.from && fixed <= this.from + this.span;
    const middle = inside ? fixed : this.from + this.span / 2;
    const span = Math.min(Math.max(this.span * factor, 2), this.last - this.first);
    this.view(middle - ((middle - this.from) * span) / this.span, span);
  }

  pan(share) { this.view(this.from + this.span * share, this.span); }
  whole() { this.view(this.first, this.last - this.first); }

  toMoment(move = true) {
    const n = this.data.moment;
    const shown = Math.max(3, Math.floor(this.width / ROW));
    const before = Math.max(0, n - Math.ceil((shown * 2) / 3));
    const after = Math.min(this.rows - 1, n + Math.floor(shown / 3));
    this.view(this.begin[before], this.end[after] - this.begin[before]);
    if (move) this.go(n);
  }

  go(row) {
    this.at = Math.min(Math.max(row, 0), this.rows - 1);
    const [begin, end] = [this.begin[this.at], this.end[this.at]];
    if (begin < this.from) this.from = Math.max(this.first, begin - this.span * 0.1);
    if (end > this.from + this.span) this.from = Math.min(this.last - this.span, end - this.span * 0.9);
    if (begin < this.from) this.from = begin;
    this.draw();
    this.tell();
  }

  // Pointer and keys

  press(event) {
    const what = event.target.dataset && event.target.dataset.do;
    const actions = {
      in: () => this.zoom(0.5), out: () => this.zoom(2), left: () => this.pan(-0.3),
      right: () => this.pan(0.3), reset: () => this.whole(), moment: () => this.toMoment(),
    };
    if (actions[what]) actions[what]();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey;
    const actions = {
      ArrowLeft: () => (far ? this.pan(-0.3) : this.go(this.at - 1)),
      ArrowRight: () => (far ? this.pan(0.3) : this.go(this.at + 1)),
      Home: () => this.go(0), End: () => this.go(this.rows - 1),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), "−": () => this.zoom(2),
      0: () => this.whole(), m: () => this.toMoment(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.picture) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(event.deltaX / this.width);
    else this.zoom(Math.exp(event.deltaY / 400), this.cycle(this.place(event)));
  }

  place(event) { return event.clientX - this.picture.getBoundingClientRect().left; }

  grab(event) {
    this.picture.focus({ preventScroll: true });
    this.grabbed = { x: event.clientX, from: this.from, moved: false };
    this.picture.setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (!this.grabbed) return;
    const by = event.clientX - this.grabbed.x;
    if (Math.abs(by) > 4) this.grabbed.moved = true;
    if (this.grabbed.moved) this.view(this.grabbed.from - (by / this.width) * this.span, this.span);
  }

  drop(event) {
    if (this.grabbed && !this.grabbed.moved && this.place(event) > this.left) {
      const cycle = this.cycle(this.place(event));
      const row = this.end.findIndex((end) => cycle < end);
      this.go(row < 0 ? this.rows - 1 : row);
    }
    this.grabbed = null;
  }

  // What is shown

  tell() {
    const pairs = [["cycle", this.data.cycles[this.at]]];
    for (const [name, values] of this.data.lanes) if (values[this.at] !== "") pairs.push([name, values[this.at]]);
    if (this.at === this.data.moment) pairs.unshift(["here", this.data.what]);
    this.values.replaceChildren(...pairs.map(([name, value]) => {
      const pair = document.createElement("div");
      for (const [tag, text] of [["dt", name], ["dd", value]]) {
        const node = document.createElement(tag);
        node.textContent = text;
        pair.append(node);
      }
      return pair;
    }));
  }

  draw() {
    if (!this.svg || !this.picture.clientWidth) return;
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${this.left + this.width} ${this.height}`);
    const lane = made(this.svg, "g", {});
    this.drawTicks(lane);
    const low = this.end.findIndex((end) => end > this.from);
    let high = low;
    while (high < this.rows && this.begin[high] < this.from + this.span) high += 1;
    this.data.lanes.forEach(([name, values], n) => {
      this.drawValues(lane, values, TOP + n * LANE, low, high, SINGLE.includes(name));
    });
    const moment = this.data.moment;
    const [from, to] = [this.x(this.begin[moment]), this.x(this.end[moment])];
    made(lane, "rect", { class: "moment", x: from, y: 0, width: Math.max(1, to - from), height: this.height });
    const cursor = this.x((this.begin[this.at] + this.end[this.at]) / 2);
    made(lane, "line", { class: "cursor-line", x1: cursor, x2: cursor, y1: 0, y2: this.height });
    made(this.svg, "rect", { class: "names", width: this.left, height: this.height });
    made(this.svg, "text", { class: "name", x: 8, y: TOP / 2 }, "cycle");
    this.data.lanes.forEach(([name], n) => {
      made(this.svg, "text", { class: "name", x: 8, y: TOP + n * LANE + LANE / 2 }, name);
    });
  }

  drawTicks(parent) {
    const least = (this.span / this.width) * 70;
    let step = 1;
    for (const factor of [2, 2.5, 2]) if (step < least) step *= factor;
    while (step < least) for (const factor of [2, 2.5, 2]) if (step < least) step *= factor;
    step = Math.max(1, Math.round(step));
    for (let cycle = Math.ceil(this.from / step) * step; cycle < this.from + this.span; cycle += step) {
      const x = this.x(cycle);
      made(parent, "line", { class: "tick", x1: x, x2: x, y1: TOP - 6, y2: this.height });
      made(parent, "text", { class: "name", x: x + 3, y: TOP / 2 }, String(cycle));
    }
  }

  drawValues(parent, values, y, low, high, single) {
    for (let n = low; n < high; ) {
      let next = n + 1;
      while (!single && next < high && values[next] === values[n]) next += 1;
      const text = values[n];
      const from = Math.max(this.x(this.begin[n]), this.left);
      const width = this.x(this.end[next - 1]) - from;
      if (text !== "" && width > 0) {
        const kind = text.startsWith("step exception") || text.startsWith("softstep") ? "alarm" : text;
        const known = ["inactive", "active-not-pending", "active-pending", "alarm"].includes(kind);
        const attributes = { class: known ? `value s-${kind}` : "value", x: from + 0.5, y: y + 3, width: Math.max(0.5, width - 1), height: LANE - 6, rx: 3 };
        made(made(parent, "g", {}), "rect", attributes);
        let empty = next; // what has nothing beside it may be written there, too
        while (empty < high && values[empty] === "") empty += 1;
        const fits = Math.floor((this.x(this.end[empty - 1]) - from - 8) / CHARACTER);
        const shown = text.length <= fits ? text : fits > 2 ? text.slice(0, fits - 1) + "…" : "";
        if (shown) made(parent, "text", { x: from + 5, y: y + LANE / 2 }, shown);
      }
      n = next;
    }
  }
}

// Which waveform is shown: one at a time, drawn when it is shown first

const articles = [...document.querySelectorAll("#waves article")];
const choice = document.getElementById("choice");

function showWave(article) {
  for (const each of articles) each.hidden = each !== article;
  if (choice) {
    choice.value = article.id.replace("wave-", "");
    const chosen = document.getElementById("chosen");
    chosen.firstChild.textContent = `${articles.indexOf(article) + 1} of ${articles.length}`;
    chosen.lastChild.textContent = `: ${article.querySelector("h3").textContent}`;
  }
  const box = article.querySelector(".wave");
  if (box && !box.firstChild) new Wave(box);
}

function articleOf(hash) {
  return articles.find((each) => "#" + each.id === hash);
}

function showLinked() {
  const article = articleOf(location.hash);
  if (!article || !article.hidden) return;
  showWave(article);
  article.scrollIntoView();
}

if (choice) {
  choice.addEventListener("change", () => showWave(articleOf(`#wave-${choice.value}`)));
  document.querySelector(".chooser").addEventListener("click", (event) => {
    const move = Number(event.target.dataset.move);
    if (!move) return;
    const at = articles.findIndex((each) => !each.hidden);
    showWave(articles[(at + move + articles.length) % articles.length]);
  });
}
// Before the browser follows the link: it goes only to what is shown.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  const hash = link.getAttribute("href");
  showTest(hash);
  const article = articleOf(hash);
  if (article) showWave(article);
});
window.addEventListener("hashchange", showLinked);
if (articles.length) showWave(articles[0]);
showLinked();
