// "What would happen": three controls, a curve with its band and a heat map, drawn from a table
// that came once. Moving a control asks nobody. Only "Run it for real" speaks to the kernel: it
// starts the run there, and this side asks for news a few times a second while it goes (the browser
// asks, the kernel answers, never the other way round).
//
// Asked       run {client, trainable_from, per_class, lr} | poll {client}
// Answered    state {client, attempt: null | {...}, problem}
// An attempt  {id, status, trainable_from, per_class, lr, seed, right: [counts], outcome, sentence}
//
// Hooks (attribute data-labkit): atlas, lr, lr-text, depth, labels, sentence, curve, map, run,
// news, back, table.

import { h, keepKeys, keepTheme, svg, tableOf, Talk } from "../console/js/ui.js";

const STEPS = 200; // of the slider over the whole range of rates
const CIVIDIS = [
  "#00224e",
  "#123570",
  "#3b496c",
  "#575d6d",
  "#707173",
  "#8a8678",
  "#a59c74",
  "#c3b369",
  "#e1cc55",
  "#fee838",
];

// -------------------------------------------- the atlas: the same sums as labkit.records.atlas

function near(rate, other) {
  return Math.abs(rate / other - 1) < 1e-6;
}

// The recorded rate at or below, and how far the rate is on the way to the next one, in logarithms.
function place(table, lr) {
  const { rates } = table;
  const same = rates.findIndex((rate) => near(lr, rate));
  if (same >= 0) return [same, 0];
  const left = Math.max(
    0,
    rates.findLastIndex((rate) => rate < lr),
  );
  return [left, Math.log(lr / rates[left]) / Math.log(rates[left + 1] / rates[left])];
}

function point(table, epoch, mean, spread, seeds) {
  const { count } = table;
  const ofMean = (table.student[seeds] * spread) / Math.sqrt(seeds);
  const ofRun = Math.max(table.student[seeds] * spread * Math.sqrt(1 + 1 / seeds), 1 / count);
  return {
    epoch,
    mean,
    meanLow: Math.max(0, mean - ofMean),
    meanHigh: Math.min(1, mean + ofMean),
    low: Math.max(0, Math.floor(count * (mean - ofRun) + 1e-9)) / count,
    high: Math.min(count, Math.ceil(count * (mean + ofRun) - 1e-9)) / count,
  };
}

// What to expect of a setting: {seeds, diverged, curve}; the curve is empty where recorded runs
// diverged.
function expect(table, depth, labels, lr) {
  const [d, l] = [table.depths.indexOf(depth), table.per_class.indexOf(labels)];
  const [left, share] = place(table, lr);
  const sides = share ? [left, left + 1] : [left];
  const finished = sides.map((side) => table.finished[d][l][side]);
  const seeds = Math.min(...finished);
  const diverged = finished.reduce((sum, n) => sum + table.seeds.length - n, 0);
  const mix = (values) => (epoch) => {
    const [a, b] = [values[d][l][left][epoch], values[d][l][sides.at(-1)][epoch]];
    return a === null || b === null ? null : (1 - share) * a + share * b;
  };
  const [mean, spread] = [mix(table.mean), mix(table.spread)];
  const epochs = Array.from({ length: table.epochs + 1 }, (_, epoch) => epoch);
  if (seeds < 2 || epochs.some((epoch) => mean(epoch) === null))
    return { seeds, diverged, curve: [] };
  return {
    seeds,
    diverged,
    curve: epochs.map((epoch) => point(table, epoch, mean(epoch), spread(epoch), seeds)),
  };
}

function sentenceOf(expected) {
  const { seeds, diverged, curve } = expected;
  if (!curve.length) return `The atlas expects nothing here: ${diverged} of its runs diverged.`;
  const { low, high, mean, epoch } = curve.at(-1);
  const [a, b, m] = [low, high, mean].map((value) => (100 * value).toFixed(0));
  const also = diverged ? `, ${diverged} more diverged` : "";
  const from = `mean ${m} %, ${seeds} seeds${also}`;
  return `The atlas expects ${a} to ${b} % after epoch ${epoch} (${from}).`;
}

// ---------------------------------------------------------------- small tools

function inPercent(value, digits = 0) {
  return `${(100 * value).toFixed(digits)} %`;
}

function rateText(lr) {
  return lr < 1e-3 ? lr.toExponential().replace("e-0", "e-") : String(lr);
}

// ---------------------------------------------------------------- pictures

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [420, 250, 46, 40, 10];

function curvePicture(table, expected, attempt, words) {
  const x = (epoch) => LEFT + 12 + ((WIDTH - LEFT - 30) * epoch) / table.epochs;
  const y = (share) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - share);
  const path = (points) =>
    points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const area = (low, high) => {
    const there = expected.curve.map((p) => [p.epoch, p[high]]);
    return `${path([...there, ...expected.curve.map((p) => [p.epoch, p[low]]).reverse()])}Z`;
  };
  const line = (name, key) =>
    svg("path", { class: name, d: path(expected.curve.map((p) => [p.epoch, p[key]])) });
  const parts = [...axes(table, x, y)];
  if (expected.curve.length) {
    parts.push(
      svg("path", { class: "la-band", d: area("low", "high") }),
      line("la-edge", "low"),
      line("la-edge", "high"),
    );
    parts.push(
      svg("path", { class: "la-mean-band", d: area("meanLow", "meanHigh") }),
      line("la-mean", "mean"),
    );
    parts.push(
      ...expected.curve.map((p) =>
        svg("circle", { class: "la-dot", cx: x(p.epoch), cy: y(p.mean), r: 3.5 }),
      ),
    );
  }
  if (attempt) parts.push(...real(table, attempt, x, y, path));
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words, hook: "curve" },
    ...parts,
  );
}

function real(table, attempt, x, y, path) {
  const points = attempt.right.map((right, epoch) => [epoch, right / table.count]);
  const squares = points.map(([a, b]) =>
    svg("rect", { class: "la-square", x: x(a) - 4.5, y: y(b) - 4.5, width: 9, height: 9 }),
  );
  return [svg("path", { class: "la-real", d: path(points) }), ...squares];
}

function axes(table, x, y) {
  const label = (left, top, text, anchor, more = {}) =>
    svg("text", { x: left, y: top, "text-anchor": anchor, ...more }, text);
  const parts = [];
  for (const share of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    parts.push(
      svg("line", { class: "la-grid", x1: LEFT, x2: WIDTH - 6, y1: y(share), y2: y(share) }),
    );
    parts.push(label(LEFT - 6, y(share) + 4, (100 * share).toFixed(0), "end"));
  }
  for (let epoch = 0; epoch <= table.epochs; epoch += 1)
    parts.push(label(x(epoch), HEIGHT - BOTTOM + 16, epoch, "middle"));
  parts.push(label((LEFT + WIDTH) / 2, HEIGHT - 6, "epoch", "middle"));
  parts.push(
    label(12, (HEIGHT - BOTTOM) / 2, "validation accuracy (%)", "middle", {
      transform: `rotate(-90 12 ${(HEIGHT - BOTTOM) / 2})`,
    }),
  );
  return parts;
}

const [CELL_W, CELL_H, MAP_LEFT, MAP_TOP] = [54, 38, 58, 20];

// Mean accuracy after the last epoch, a number in every cell; a frame around the cell, a pointer at
// the exact rate.
function mapPicture(table, at, words, choose) {
  const l = table.per_class.indexOf(at.labels);
  const means = table.mean.map((depth) => depth[l].map((rate) => rate.at(-1)));
  const known = means.flat().filter((mean) => mean !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const height = MAP_TOP + CELL_H * table.depths.length + 40;
  const parts = [];
  means.forEach((row, d) => {
    parts.push(
      svg(
        "text",
        { x: MAP_LEFT - 6, y: MAP_TOP + CELL_H * (d + 0.5) + 4, "text-anchor": "end" },
        table.depths[d],
      ),
    );
    row.forEach((mean, r) =>
      parts.push(cell(table, mean, r, d, (mean - low) / (high - low || 1), choose)),
    );
  });
  table.rates.forEach((rate, r) => {
    parts.push(
      svg(
        "text",
        { x: MAP_LEFT + CELL_W * (r + 0.5), y: height - 24, "text-anchor": "middle" },
        rateText(rate),
      ),
    );
  });
  parts.push(
    svg(
      "text",
      { x: MAP_LEFT + (CELL_W * table.rates.length) / 2, y: height - 6, "text-anchor": "middle" },
      "learning rate",
    ),
  );
  parts.push(...marker(table, at));
  const size = `0 0 ${MAP_LEFT + CELL_W * table.rates.length + 6} ${height}`;
  return svg("svg", { viewBox: size, role: "img", "aria-label": words, hook: "map" }, ...parts);
}

function cell(table, mean, r, d, share, choose) {
  const colour = mean === null ? "#ffffff" : CIVIDIS[Math.round(share * (CIVIDIS.length - 1))];
  const [x, y] = [MAP_LEFT + CELL_W * r, MAP_TOP + CELL_H * d];
  const box = svg("rect", { x, y, width: CELL_W, height: CELL_H, fill: colour, class: "la-cell" });
  const ink = mean === null || share >= 0.5 ? "#000000" : "#ffffff";
  const text = svg(
    "text",
    { x: x + CELL_W / 2, y: y + CELL_H / 2 + 5, "text-anchor": "middle", style: `fill:${ink}` },
    mean === null ? "–" : (100 * mean).toFixed(0),
  );
  const group = svg("g", { class: "la-choice" }, box, text);
  group.addEventListener("click", () => choose(table.depths[d], table.rates[r]));
  return group;
}

function marker(table, at) {
  const [left, share] = place(table, at.lr);
  const [column, row] = [Math.round(left + share), table.depths.indexOf(at.depth)];
  const frame = {
    x: MAP_LEFT + CELL_W * column + 2,
    y: MAP_TOP + CELL_H * row + 2,
    width: CELL_W - 4,
    height: CELL_H - 4,
  };
  const x = MAP_LEFT + CELL_W * (left + share + 0.5);
  const pointer = `M${x} ${MAP_TOP - 2}l-6 -12h12z`;
  return [
    svg("rect", { class: "la-frame-out", ...frame }),
    svg("rect", { class: "la-frame", ...frame }),
    svg("path", { class: "la-pointer", d: pointer }),
  ];
}

// ---------------------------------------------------------------- the card

class AtlasCard {
  constructor(model, el) {
    this.table = model.get("table");
    this.talk = new Talk(model, (message) => this.take(message));
    const { trainable_from: depth, per_class: labels, lr } = model.get("start");
    this.at = { depth, labels, lr };
    this.attempt = null;
    this.build();
    el.append(this.root);
    this.show();
    this.talk.open();
  }

  close() {
    this.talk.close();
    this.forgetTheme();
    this.root.remove();
  }

  // ------------------------------------------------------------ what there is

  build() {
    const { table } = this;
    const id = `labkit-atlas-${this.talk.client}`;
    this.slider = h("input", {
      type: "range",
      id: `${id}-lr`,
      min: 0,
      max: STEPS,
      step: 1,
      hook: "lr",
    });
    // The slider says it itself.
    this.rate = h("span", { class: "la-value", "aria-hidden": "true", hook: "lr-text" });
    this.depth = select(`${id}-depth`, "depth", table.depths, (name) => name);
    this.labels = select(`${id}-labels`, "labels", table.per_class, String);
    this.said = h("p", { class: "la-sentence", role: "status", hook: "sentence" });
    this.curve = h("div", { class: "la-figure" });
    this.map = h("div", { class: "la-figure" });
    this.go = h("button", { type: "button", hook: "run" }, "Run it for real");
    this.back = h("button", { type: "button", hook: "back", hidden: true }, "Show its settings");
    this.news = h("p", { class: "la-news", role: "status", hook: "news" });
    this.grid = h("div", {
      class: "la-table",
      hook: "table",
      tabindex: 0,
      role: "region",
      "aria-label": "The expected curve as a table",
    });
    const row = (name, text, ...controls) =>
      h("div", { class: "la-row" }, h("label", { for: `${id}-${name}` }, text), ...controls);
    const controls = h(
      "div",
      { class: "la-controls" },
      row("lr", "Learning rate", this.slider, this.rate),
      row("depth", "Trainable from", this.depth),
      row("labels", "Examples a class", this.labels),
    );
    const title = `What would happen: ${table.net} on ${table.data}`;
    const mean = `Mean accuracy after epoch ${table.epochs} (%)`;
    const caption = `${mean}, by learning rate and first stage that trains`;
    const heat = h("div", {}, h("p", { class: "la-caption" }, caption), this.map);
    const pictures = h("div", { class: "la-pictures" }, this.curve, heat);
    this.root = h(
      "section",
      { class: "labkit-atlas lk-theme lk-card", hook: "atlas", "aria-label": title },
      h("p", { class: "la-title" }, title),
      controls,
      this.said,
      pictures,
      legend(),
      h("div", { class: "la-real-row" }, this.go, this.back),
      this.news,
      h("details", {}, h("summary", {}, "The same as a table"), this.grid),
    );
    this.listen();
  }

  listen() {
    keepKeys(this.root);
    this.slider.addEventListener("input", () =>
      this.move({ lr: this.rateAt(Number(this.slider.value)) }),
    );
    this.depth.addEventListener("change", () => this.move({ depth: this.depth.value }));
    this.labels.addEventListener("change", () => this.move({ labels: Number(this.labels.value) }));
    this.go.addEventListener("click", () => this.begin());
    this.back.addEventListener("click", () => {
      this.move(settingOf(this.attempt));
      this.go.focus();
    });
    this.forgetTheme = keepTheme(this.root);
  }

  // The slider is even in the logarithm; a rate has two digits, and a recorded one is met exactly.
  rateAt(step) {
    const { rates } = this.table;
    const [low, high] = [rates[0], rates.at(-1)];
    const rate = Number((low * (high / low) ** (step / STEPS)).toPrecision(2));
    return Math.min(high, Math.max(low, rate));
  }

  stepAt(rate) {
    const { rates } = this.table;
    return Math.round((STEPS * Math.log(rate / rates[0])) / Math.log(rates.at(-1) / rates[0]));
  }

  // ------------------------------------------------------------ what is shown

  move(change) {
    Object.assign(this.at, change);
    this.show();
  }

  show() {
    const { table, at } = this;
    if (this.rateAt(Number(this.slider.value)) !== at.lr) this.slider.value = this.stepAt(at.lr);
    this.depth.value = at.depth;
    this.labels.value = at.labels;
    this.rate.textContent = rateText(at.lr);
    this.slider.setAttribute("aria-valuetext", `learning rate ${rateText(at.lr)}`);
    this.expected = expect(table, at.depth, at.labels, at.lr);
    this.said.textContent = sentenceOf(this.expected);
    const choose = (depth, lr) => this.move({ depth, lr });
    this.map.replaceChildren(mapPicture(table, at, this.mapWords(), choose));
    this.draw();
  }

  // What a new epoch of the real run changes.
  draw() {
    const mine =
      this.attempt && sameSetting(settingOf(this.attempt), this.at) ? this.attempt : null;
    this.curve.replaceChildren(
      curvePicture(this.table, this.expected, mine, this.curveWords(mine)),
    );
    this.grid.replaceChildren(curveTable(this.table, this.expected, mine));
    this.back.hidden = !this.attempt || Boolean(mine);
  }

  curveWords(mine) {
    const counts = mine?.right.map((right) => inPercent(right / this.table.count, 1)) ?? [];
    const made = counts.length ? ` The real run has ${counts.join(", ")}.` : "";
    const what = "Expected validation accuracy by epoch, with a band for one more run.";
    return `${what} ${sentenceOf(this.expected)}${made}`;
  }

  mapWords() {
    const { table, at } = this;
    const l = table.per_class.indexOf(at.labels);
    const rows = table.mean.map((depth, d) => {
      const told = depth[l].map((rate, r) => {
        const mean = rate.at(-1) === null ? "diverged" : inPercent(rate.at(-1));
        return `${mean} at ${rateText(table.rates[r])}`;
      });
      return `${table.depths[d]}: ${told.join(", ")}`;
    });
    const what = `Heat map of the mean accuracy after epoch ${table.epochs}`;
    const where = `marked at ${at.depth}, learning rate ${rateText(at.lr)}`;
    return `${what}, ${where}. ${rows.join("; ")}.`;
  }

  // ------------------------------------------------------------ the real run

  begin() {
    if (this.busy()) return;
    const { depth, labels, lr } = this.at;
    this.tell("Starting the run …");
    this.talk.ask({ kind: "run", trainable_from: depth, per_class: labels, lr });
  }

  busy() {
    return ["preparing", "running"].includes(this.attempt?.status);
  }

  // Takes an answer in; whether there is more to wait for.
  take(message) {
    const before = JSON.stringify(this.attempt);
    this.attempt = message.attempt;
    if (JSON.stringify(this.attempt) !== before) this.draw();
    this.tell(message.problem || newsOf(this.attempt, this.table));
    this.go.setAttribute("aria-disabled", this.busy());
    return this.busy();
  }

  tell(words) {
    if (this.news.textContent !== words) this.news.textContent = words;
    this.news.dataset.outcome = this.attempt?.outcome ?? "";
  }
}

function select(id, hook, values, text) {
  return h("select", { id, hook }, ...values.map((value) => h("option", { value }, text(value))));
}

function settingOf(attempt) {
  return { depth: attempt.trainable_from, labels: attempt.per_class, lr: attempt.lr };
}

function sameSetting(a, b) {
  return a.depth === b.depth && a.labels === b.labels && near(a.lr, b.lr);
}

function newsOf(attempt, table) {
  if (!attempt) return "";
  if (attempt.sentence) return attempt.sentence;
  const done = attempt.right.length - 1;
  if (done < 0) return "Loading network and data …";
  const right = inPercent(attempt.right.at(-1) / table.count, 1);
  return `The run has ${right} after epoch ${done} of ${table.epochs}.`;
}

function curveTable(table, expected, attempt) {
  const heads = [
    "epoch",
    "mean (%)",
    "95 % interval of the mean",
    "one more run lands in",
    "real run (%)",
  ];
  const span = (low, high) => `${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)}`;
  const row = (p) => {
    const right = attempt?.right[p.epoch];
    const made = right === undefined ? "" : (100 * (right / table.count)).toFixed(1);
    return [
      p.epoch,
      (100 * p.mean).toFixed(1),
      span(p.meanLow, p.meanHigh),
      span(p.low, p.high),
      made,
    ];
  };
  return tableOf(heads, expected.curve.map(row));
}

function legend() {
  const key = (text, ...marks) =>
    h(
      "span",
      { class: "la-key" },
      svg("svg", { viewBox: "0 0 34 14", width: 34, height: 14, "aria-hidden": "true" }, ...marks),
      text,
    );
  const line = (name, y) => svg("line", { class: name, x1: 1, x2: 33, y1: y, y2: y });
  const box = (name) => svg("rect", { class: name, x: 1, y: 1, width: 32, height: 12 });
  return h(
    "p",
    { class: "la-legend" },
    key(
      "mean of the recorded runs",
      line("la-mean", 7),
      svg("circle", { class: "la-dot", cx: 17, cy: 7, r: 3.5 }),
    ),
    key("95 % interval of that mean", box("la-mean-band")),
    key(
      "where one more run lands, 95 of 100 times",
      box("la-band"),
      line("la-edge", 1),
      line("la-edge", 13),
    ),
    key(
      "the real run",
      line("la-real", 7),
      svg("rect", { class: "la-square", x: 13, y: 3, width: 9, height: 9 }),
    ),
  );
}

function render({ model, el }) {
  const card = new AtlasCard(model, el);
  return () => card.close();
}

export default { render };
