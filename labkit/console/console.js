// The live console: controls and canvas on this side, the run on the kernel's side.
//
// The browser asks and the kernel answers. `Link` sends a poll twice a training step, every 100 to 300 ms (never two at
// once) and keeps `Story`, which is everything drawn here, rebuilt from the run's journal alone: close the tab, reload,
// open a second view, and the story is read again from its first line. Nothing here knows how to train.
//
// What is shown takes processor time from what trains, often on the same two cores. So an answer without news touches
// nothing, a view that nobody sees draws nothing, a part writes only what changed, and a chart adds new points to a
// layer that is kept. A part is {el, update(story)}; a new panel is one more of them, listed in View.build.
//
// Messages        poll {client, n, since, probes, finder,   ->  delta {client, n, since, seq, more, points, state,
//                       look, known, hidden}                           known (when it changed), probes, finder, look (when new)}
//                 command {client, id, command, args}       ->  ack {client, id, ok, pending, ticket, value, error}
//                 images {client, keys}                     ->  images {client, images: [[key, data address], ...]}
//                 figure {client}                           ->  figure {client, version, address}: what the look shows
// Points          see POINTS below; the kernel writes them in console_session.py.
//
// Stable hooks (attribute data-labkit="...") for tests and lessons; they may grow, they do not change:
//   root       console (also data-theme, data-ack-ms: last key-to-acknowledgement time in ms, data-seq, data-frames: how
//              often anything was brought up to date)
//   header     status, sentence, expected, progress, epoch-time, problem (a failed run), problem-rewind, problem-gentler, link
//   runs       runs (the list), run-choice (one radio each, value = id), rename, branch
//   settings   lr (log slider), lr-text, lr-error, find-lr, find-lr-error, found (its curve and words), use-lr, depth (slider), depth-text, depth-error, stages, batch-size, epochs,
//              augment, weight-decay, hold, settings-error
//   new run    plan, seed, new-run, plan-error
//   transport  run, pause, step, scrub (slider over the timeline), rewind, branch, reset, transport-error
//   charts     chart-loss, chart-accuracy: canvases with data-points, data-frames, data-last-gap-ms, data-max-gap-ms,
//              data-marks, data-runs
//   probes     strip (one strip-item an image: data-right, data-index), drift (one drift-row a stage: data-stage,
//              data-value)
//   look       look (what to draw), look-figure (data-step), look-note, look-error
//   table      table-toggle, table
//   share      share-line, share-copy, share-note, paste-line, paste-open, paste-error

const POLL_MS = 100; // between two questions, at least
const SLOW_POLL_MS = 300; // and at most, while somebody looks: a run of few steps has little to tell
const REST_POLL_MS = 250; // while nothing trains
const HIDDEN_POLL_MS = 1000; // a view out of sight draws nothing: it only keeps up
const LOST_MS = 2000; // a reply that took longer is lost, and is asked for again
const PATIENCE_MS = 15000; // a kernel that stays silent is asked less and less often, down to this
const WINDOW = 20; // steps over which the train curve is averaged, by exact counts
const HOLD_MS = 400; // a control that was just moved keeps the learner's value this long
const SPEAK_MS = 3000; // a screen reader hears a new sentence at most this often
const GHOSTS = 3; // futures that were rewound and stay visible, faintly

// Okabe and Ito's colours in an order that keeps 3:1 against the background; a shape goes with each.
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#007a5a", "#b8558c", "#000000", "#8a6d00"],
  dark: ["#56b4e9", "#e69f00", "#2fbf94", "#e29cc3", "#f0e442", "#f07b3f"],
};
const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "ring"];

// ---------------------------------------------------------------- the link to the kernel

class Link {
  constructor(model, view) {
    this.model = model;
    this.view = view;
    this.client = Math.random().toString(36).slice(2, 10); // every view asks for itself and hears only its answers
    this.story = new Story();
    this.waiting = new Map(); // commands without an answer: id -> {message, sent, resolve, settle}
    this.late = new Map(); // accepted commands not yet in force: "run:ticket" -> what to do if the engine refuses
    this.since = 0;
    this.probes = this.finder = this.look = 0;
    this.known = ""; // the state's stamp: a state that is known is not sent again
    this.count = 0;
    this.asked = null; // the poll in flight: {n, sent}
    this.silent = 0; // polls lost in a row
    this.due = 0;
    this.receive = this.receive.bind(this);
  }

  open() {
    this.model.on("msg:custom", this.receive);
    this.plan(0);
  }

  close() {
    this.closed = true;
    this.model.off("msg:custom", this.receive);
    clearTimeout(this.timer);
  }

  // Ask now, not when the next question is due.
  wake() {
    this.plan(0);
  }

  send(message) {
    this.model.send({ ...message, client: this.client });
  }

  plan(delay) {
    clearTimeout(this.timer);
    if (!this.closed) this.timer = setTimeout(() => this.tick(), delay);
  }

  tick() {
    const now = performance.now();
    const patience = Math.min(LOST_MS * 2 ** this.silent, PATIENCE_MS);
    if (this.asked && now - this.asked.sent < patience) return this.plan(patience - (now - this.asked.sent));
    if (this.asked) this.lost();
    this.asked = { n: ++this.count, sent: now };
    const period = this.period();
    this.due = Math.max(this.due, now - period) + period; // on schedule, so that 10 Hz is 10 Hz
    const { since, probes, finder, look, known } = this;
    this.send({ kind: "poll", n: this.count, since, probes, finder, look, known, hidden: !this.view.inSight() });
    this.resend(now);
    this.plan(patience);
  }

  // Twice a step, within bounds: every question costs the machine that trains, whether it brings news or not.
  period() {
    if (!this.view.inSight()) return HIDDEN_POLL_MS;
    if (!this.story.trains()) return REST_POLL_MS;
    const step = 1000 / (this.story.state.rate || Infinity);
    return Math.min(Math.max(step / 2, POLL_MS), SLOW_POLL_MS);
  }

  lost() {
    this.silent += 1;
    this.story.connected = this.silent < 2;
    this.view.changed();
  }

  resend(now) {
    for (const entry of this.waiting.values()) {
      if (entry.pending || now - entry.sent < LOST_MS) continue;
      entry.sent = now; // the kernel knows a command by its id and never does it twice
      this.send(entry.message);
    }
  }

  receive(message) {
    if (!message || message.client !== this.client) return;
    if (message.kind === "delta") this.delta(message);
    else if (message.kind === "ack") this.ack(message);
    else if (message.kind === "images") this.images(message);
    else if (message.kind === "figure") this.figure(message);
    else if (message.kind === "error") console.warn(`labkit: ${message.error}`);
  }

  delta(message) {
    if (message.n === this.asked?.n) this.asked = null; // else it comes late, and is as welcome
    const news = this.learn(message);
    this.news = this.news || news;
    if (this.news && !message.more) {
      this.news = false;
      this.view.changed();
    }
    this.plan(message.more ? 0 : Math.max(0, this.due - performance.now()));
  }

  // Takes an answer in; whether it brought anything that was not known.
  learn(message) {
    let news = !this.story.connected;
    this.silent = 0;
    this.story.connected = true;
    if (message.since === this.since) {
      for (const point of message.points) this.take(point);
      this.since = message.seq;
      news = news || message.points.length > 0;
    }
    if (message.state) {
      this.story.state = message.state;
      this.known = message.known ?? "";
      news = true;
    }
    if (message.probes) {
      this.story.probes = message.probes;
      this.probes = message.probes.version;
      this.askForImages();
      news = true;
    }
    if (message.finder) {
      this.story.finder = message.finder;
      this.finder = message.finder.version;
      news = true;
    }
    if (message.look) {
      this.sketch = message.look; // shown once its figure is here, too
      this.look = message.look.version;
      this.send({ kind: "figure" });
    }
    return news;
  }

  images(message) {
    for (const [key, address] of message.images) this.story.pictures.set(key, address);
    this.askForImages();
    this.view.changed();
  }

  figure(message) {
    if (message.version !== this.sketch?.version) return; // a newer one is on its way
    this.story.look = { ...this.sketch, address: message.address };
    this.view.changed();
  }

  // Pictures are sent once, a few at a time; asking goes on until none is missing.
  askForImages() {
    const missing = (this.story.probes.strip || []).map((item) => item.key).filter((key) => !this.story.pictures.has(key));
    if (missing.length) this.send({ kind: "images", keys: missing });
  }

  take(point) {
    if (point[0] === "o") return this.settle(point[1], { ok: !point[2], error: point[2], value: point[3] });
    this.story.take(point);
    if (point[0] !== "c") return;
    const refused = this.late.get(`${point[1]}:${point[3]}`);
    this.late.delete(`${point[1]}:${point[3]}`);
    if (refused && point[6]) refused(point[6]);
  }

  // A promise of {ok, error, value}. Slow work is acknowledged at once and settled later, by a point of the journal.
  command(command, args = {}, refused = null) {
    const id = `${this.client}-${++this.count}`;
    const message = { kind: "command", id, command, args };
    return new Promise((resolve) => {
      this.waiting.set(id, { message, sent: performance.now(), begun: performance.now(), resolve, refused });
      this.send(message);
    });
  }

  ack(message) {
    const entry = this.waiting.get(message.id);
    if (!entry || entry.pending) return;
    const took = performance.now() - entry.begun;
    this.view.acknowledged(took);
    if (message.pending) entry.pending = true;
    else this.settle(message.id, message);
    if (message.ticket != null && entry.refused) this.late.set(message.ticket, entry.refused);
    this.plan(0); // what it changed should be seen at once
  }

  settle(id, outcome) {
    const entry = this.waiting.get(id);
    if (!entry) return;
    this.waiting.delete(id);
    entry.resolve(outcome);
  }
}

// ---------------------------------------------------------------- the story so far

// How each kind of point is read. The first item is the kind, the second the run's id; losses may be null (not finite).
const POINTS = {
  n: (story, [, id, meta]) => story.runs.set(id, new Track(id, meta, story.runs.size)), // a new run
  s: (story, [, id, step, loss, correct, count]) => story.runs.get(id)?.step(step, loss, correct, count),
  e: (story, [, id, step, epoch, ...numbers]) => story.runs.get(id)?.epoch(step, epoch, numbers),
  c: (story, [, id, step, , kind, label, error]) => !error && label && story.runs.get(id)?.mark(step, kind, label),
  p: (story, [, id, step, label]) => story.runs.get(id)?.mark(step, "phase", label),
  r: (story, [, id, step]) => story.runs.get(id)?.rewound(step),
};

class Story {
  constructor() {
    this.runs = new Map();
    this.state = null;
    this.probes = null;
    this.finder = null; // the last range test
    this.look = null; // the last figure that was asked for
    this.pictures = new Map(); // "set:index" -> data address
    this.connected = true;
    this.edition = 0; // counts the points taken: what was drawn from the same edition is level
  }

  take(point) {
    this.edition += 1;
    POINTS[point[0]]?.(this, point);
  }

  trains() {
    return this.state?.finding != null || Boolean(this.state?.runs.some((row) => row.status === "running"));
  }

  get active() {
    return this.state && this.runs.get(this.state.active);
  }

  get row() {
    return this.state && this.state.runs.find((row) => row.id === this.state.active);
  }
}

// One run: its steps with running sums, so that the mean of any window is one subtraction of exact counts.
class Track {
  constructor(id, meta, order) {
    Object.assign(this, { id, meta, order, ghosts: [], marks: [], epochs: [] });
    this.turns = 0; // counts all that is more than one step further, so that a picture of it has to be drawn anew
    this.steps = [];
    this.raw = [];
    this.sums = { loss: [0], correct: [0], count: [0], finite: [0] };
  }

  step(step, loss, correct, count) {
    const { sums } = this;
    const finite = loss === null ? 0 : count;
    this.steps.push(step);
    this.raw.push(loss);
    sums.loss.push(sums.loss.at(-1) + (loss ?? 0) * finite);
    sums.finite.push(sums.finite.at(-1) + finite);
    sums.correct.push(sums.correct.at(-1) + correct);
    sums.count.push(sums.count.at(-1) + count);
  }

  epoch(step, epoch, [trainLoss, trainCorrect, trainCount, loss, correct, count, seconds]) {
    this.turns += 1;
    this.epochs.push({ step, epoch, trainLoss, trainCorrect, trainCount, loss, correct, count, seconds });
  }

  mark(step, kind, label) {
    this.turns += 1;
    this.marks.push({ step, kind, label });
  }

  // What came after `step` is no longer this run's past; it stays as a faint ghost, to compare with. A command given at
  // `step` was for the steps after it, so the run forgets it, too; an epoch or a phase is marked where it came about.
  rewound(step) {
    this.turns += 1;
    const keep = this.steps.findIndex((value) => value > step);
    const ghost = { loss: this.curve("loss", 200, step), accuracy: this.curve("accuracy", 200, step) };
    if (ghost.loss.length > 1) this.ghosts = [...this.ghosts, ghost].slice(-GHOSTS);
    if (keep >= 0) {
      for (const list of [this.steps, this.raw]) list.length = keep;
      for (const list of Object.values(this.sums)) list.length = keep + 1;
    }
    this.epochs = this.epochs.filter((entry) => entry.step <= step);
    this.marks = this.marks.filter((mark) => mark.step < step || (mark.step === step && mark.kind === "phase"));
  }

  at(index, what) {
    const from = Math.max(0, index + 1 - WINDOW);
    const { sums } = this;
    const [top, bottom] = what === "loss" ? [sums.loss, sums.finite] : [sums.correct, sums.count];
    const count = bottom[index + 1] - bottom[from];
    const mean = count ? (top[index + 1] - top[from]) / count : NaN;
    if (what === "loss") return this.raw[index] === null ? NaN : mean;
    return 100 * mean;
  }

  // At most `columns` points [step, value] of the train curve after step `after`: as many as there are pixels.
  curve(what, columns, after = -1) {
    const first = after < 0 ? 0 : this.steps.findIndex((value) => value >= after);
    if (first < 0) return [];
    const stride = Math.max(1, Math.ceil((this.steps.length - first) / columns));
    const points = [];
    for (let i = first; i < this.steps.length; i += stride) points.push([this.steps[i], this.at(i, what)]);
    const last = this.steps.length - 1;
    if (last > first && last % stride) points.push([this.steps[last], this.at(last, what)]);
    return points;
  }

  valid(what) {
    return this.epochs.map((entry) => [entry.step, what === "loss" ? entry.loss : percent(entry.correct, entry.count)]);
  }

  get last() {
    return this.steps.at(-1) ?? this.epochs.at(-1)?.step ?? 0;
  }
}

// ---------------------------------------------------------------- small tools

const percent = (correct, count) => (count ? (100 * correct) / count : NaN);
const show = (value, digits = 2) => (Number.isFinite(value) ? value.toFixed(digits) : "not finite");

function rate(value) {
  if (!Number.isFinite(value)) return "";
  const short = Number(value.toPrecision(3));
  return short !== 0 && Math.abs(short) < 1e-4 ? short.toExponential().replace("e-0", "e-") : String(short);
}

function amount(count) {
  if (count < 1e3) return String(count);
  return count < 1e6 ? `${(count / 1e3).toFixed(count < 1e4 ? 1 : 0)} k` : `${(count / 1e6).toFixed(1)} M`;
}

// An element with attributes, listeners (onclick: ...) and children; strings become text, never markup.
function h(tag, attributes = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "hook") el.dataset.labkit = value;
    else if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "hidden") el[name] = value;
    else if (value !== null && value !== false) el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.filter((child) => child !== null));
  return el;
}

function svg(tag, attributes, ...children) {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}

function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

function setAttribute(el, name, value) {
  if (el.getAttribute(name) !== value) el.setAttribute(name, value);
}

// A property such as hidden, value or max: even the same value, written again, makes the page look at the element.
function set(el, name, value) {
  if (el[name] !== value) el[name] = value;
}

let names = 0;
const fresh = (stem) => `labkit-${stem}-${++names}`;

// A labelled control with a place for its error below it.
function field(label, control, { hook = null, note = null } = {}) {
  control.id = control.id || fresh("control");
  const error = problem(hook);
  control.setAttribute("aria-describedby", [note?.id, error.id].filter(Boolean).join(" "));
  return { el: h("div", { class: "lk-field" }, h("label", { for: control.id }, label), control, error), control, error };
}

function problem(hook) {
  return h("p", { class: "lk-error", role: "alert", id: fresh("error"), hook });
}

function button(text, hook, onclick, attributes = {}) {
  return h("button", { type: "button", class: "lk-button", hook, onclick, ...attributes }, text);
}

// Send a command; an error of the kernel's door is shown in `slot`, beside the control, and what was typed stays.
async function act(link, slot, command, args = {}, control = null) {
  const refuse = (text) => {
    setText(slot, text || "");
    if (control) text ? control.setAttribute("aria-invalid", "true") : control.removeAttribute("aria-invalid");
  };
  const outcome = await link.command(command, args, refuse);
  refuse(outcome.ok ? "" : outcome.error);
  return outcome;
}

// What the run cannot do, by the name of the command or setting, with the reason: fastai's loop, say, cannot go back.
const refusal = (story, name) => story.active?.meta.refuses?.[name];

// Show a control as not available, and why. A button can still be asked: the kernel answers with the reason.
function offer(control, why, off = false) {
  if (control.tagName !== "BUTTON") set(control, "disabled", Boolean(why));
  else setAttribute(control, "aria-disabled", String(Boolean(why) || off));
  set(control, "title", why ?? "");
}

// A setting in the learner's hand. While it is being moved it shows the learner's value, otherwise the kernel's; a
// value that was refused stays, so that it can be mended, until another run is looked at.
class Held {
  constructor(link, slot, control, name, command = "set") {
    Object.assign(this, { link, slot, control, name, command, busy: false, refused: false, next: undefined, until: 0 });
    control.addEventListener("blur", () => link.view.changed());
  }

  // At most one command in flight: while one is, only the newest value is kept.
  async send(value) {
    this.until = performance.now() + HOLD_MS;
    setTimeout(() => this.link.view.changed(), HOLD_MS + 10); // then the kernel's value is shown, also without news
    if (this.busy) {
      this.next = value;
      return;
    }
    this.busy = true;
    const { ok } = await act(this.link, this.slot, this.command, { [this.name]: value }, this.control);
    this.busy = false;
    this.refused = !ok;
    if (ok && "shown" in this.control.dataset) this.control.dataset.shown = this.control.value;
    const next = this.next;
    this.next = undefined;
    if (next !== undefined && next !== value) this.send(next);
  }

  // Whether the kernel's value may be shown now.
  free(story) {
    if (this.run !== story.state.active) {
      this.run = story.state.active;
      if (this.refused) setText(this.slot, "");
      this.control.removeAttribute("aria-invalid");
      this.refused = false;
      return !this.busy;
    }
    const typing = document.activeElement === this.control && this.control.dataset.shown !== this.control.value;
    return !this.busy && !this.refused && performance.now() > this.until && !(typing && "shown" in this.control.dataset);
  }
}

// ---------------------------------------------------------------- header: what is happening

const STATUS = {
  ready: ["○", "ready"],
  running: ["▶", "training"],
  paused: ["❚❚", "paused"],
  ended: ["■", "ended"],
  failed: ["✕", "failed"],
};

function header(link) {
  const symbol = h("span", { "aria-hidden": "true" });
  const word = h("span");
  const status = h("span", { class: "lk-status", hook: "status" }, symbol, word);
  const sentence = h("p", { class: "lk-sentence", hook: "sentence" });
  const spoken = h("p", { class: "lk-hidden", "aria-live": "polite" }); // the same, at a pace that can be listened to
  const expected = h("p", { class: "lk-muted", hook: "expected" });
  const progress = h("span", { hook: "progress" });
  const time = h("span", { hook: "epoch-time" });
  const wire = h("p", { class: "lk-wire", hook: "link", role: "status" });

  function update(story) {
    const row = story.row;
    const [mark, name] = STATUS[row.status] || ["", row.status];
    setText(symbol, mark);
    setText(word, name);
    setAttribute(status, "data-status", row.status);
    setText(progress, `step ${row.step} of ${row.total} · epoch ${row.epoch} of ${story.state.settings.epochs}`);
    setText(time, timing(story.state));
    setText(wire, story.connected ? "" : "The kernel does not answer: it is busy, or it was restarted. What was drawn stays here.");
    setText(sentence, story.state.sentence);
    setText(expected, story.state.expected);
  }

  const line = h("div", { class: "lk-line" }, status, progress, time);
  const speak = (story) => setText(spoken, story.state.sentence);
  return { el: h("header", { class: "lk-header" }, line, sentence, expected, spoken, wire), update, speak };
}

function timing(state) {
  const parts = [];
  if (state.rate) parts.push(`${state.rate < 10 ? state.rate.toFixed(1) : Math.round(state.rate)} steps/s`);
  if (state.epoch_seconds != null) parts.push(epochTime(state.epoch_seconds, state.saved_seconds));
  if (state.budget) parts.push(`${Math.min(...state.budget).toFixed(1)} of ${state.budget[1]} processor seconds spent`);
  return parts.join(" · ");
}

// What an epoch took, and what it would have taken without the output of frozen stages kept from before.
function epochTime(seconds, saved) {
  const words = (value) => `${value < 1 ? value.toPrecision(1) : value.toFixed(1)} s`;
  const took = `the last epoch took ${words(seconds)}`;
  return saved > 0.1 * seconds && saved > 0.05 ? `${took}; with the frozen stages run again ${words(seconds + saved)}` : took;
}

// A run that diverged: what happened, what to try, and the way back.
function failure(link) {
  const text = h("p");
  const error = problem("problem-error");
  const goBack = () => (refusal(link.story, "rewind") ? act(link, error, "reset") : act(link, error, "rewind", { step: place }));
  const back = button("", "problem-rewind", goBack);
  const gentler = button("", "problem-gentler", async () => {
    const { ok } = await goBack();
    if (ok) act(link, error, "set", { lr });
  });
  const el = h("div", { class: "lk-problem", hook: "problem", role: "alert", hidden: true }, text, h("div", { class: "lk-line" }, gentler, back), error);
  let place = 0;
  let lr = 0;

  function update(story) {
    const failed = story.state.failure;
    set(el, "hidden", !failed);
    if (!failed) return;
    place = failed.last_good;
    lr = Number((story.state.settings.lr / 10).toPrecision(3));
    setText(text, `Training stopped at step ${failed.step}: ${failed.reason}. Nothing is lost: the run can go back to where it was well.`);
    setText(back, `Rewind to step ${place}`);
    setText(gentler, `Rewind to step ${place} and try a learning rate of ${rate(lr)}`);
  }

  return { el, update };
}

// ---------------------------------------------------------------- the family of runs

function runs(link, view) {
  const group = fresh("runs");
  const list = h("div", { class: "lk-runs", hook: "runs", role: "radiogroup", "aria-label": "Run" });
  const name = h("input", { type: "text", hook: "rename", maxlength: 40, autocomplete: "off" });
  const error = problem("rename-error");
  const items = new Map();
  name.addEventListener("keydown", (event) => event.key === "Enter" && rename());
  name.addEventListener("change", rename);
  name.addEventListener("blur", () => view.changed());

  function rename() {
    const run = link.story.row;
    if (run && name.value.trim() && name.value !== run.name) act(link, error, "rename", { run: run.id, name: name.value.trim() }, name);
  }

  function item(row, track) {
    const radio = h("input", { type: "radio", name: group, value: row.id, hook: "run-choice", onchange: () => act(link, error, "select", { run: row.id }) });
    const [title, note] = [h("span", { class: "lk-run-name" }), h("span", { class: "lk-muted" })];
    const el = h("label", { class: "lk-run" }, radio, swatch(track.order, view.theme), title, note);
    return { el, radio, title, note, order: track.order };
  }

  function update(story) {
    for (const row of story.state.runs) {
      const track = story.runs.get(row.id);
      if (!track) continue;
      if (!items.has(row.id)) {
        items.set(row.id, item(row, track));
        list.append(items.get(row.id).el);
      }
      const entry = items.get(row.id);
      const last = track.epochs.at(-1);
      set(entry.radio, "checked", row.id === story.state.active);
      setText(entry.title, row.name);
      setText(entry.note, `step ${row.step}${last ? ` · valid ${show(percent(last.correct, last.count), 1)} %` : ""}`);
    }
    if (document.activeElement !== name && story.row) set(name, "value", story.row.name);
  }

  function recolour() {
    for (const entry of items.values()) entry.el.children[1].replaceWith(swatch(entry.order, view.theme));
  }

  const rename_ = h("label", { class: "lk-inline" }, h("span", { class: "lk-muted" }, "Name"), name);
  return { el: h("div", { class: "lk-family" }, list, rename_, error), update, recolour };
}

function swatch(order, theme) {
  const colour = COLOURS[theme][order % COLOURS[theme].length];
  const line = svg("line", { x1: 0, x2: 28, y1: 7, y2: 7, stroke: colour, "stroke-width": 2 });
  const path = svg("path", { d: SHAPE_PATHS[SHAPES[order % SHAPES.length]], transform: "translate(14 7)", fill: colour, stroke: colour, "stroke-width": 1.5 });
  return svg("svg", { width: 28, height: 14, viewBox: "0 0 28 14", "aria-hidden": "true", class: "lk-swatch" }, line, path);
}

const SHAPE_PATHS = {
  circle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
  square: "M-3.5 -3.5h7v7h-7z",
  triangle: "M0 -4.5L4.5 3.5H-4.5z",
  diamond: "M0 -5L4.5 0L0 5L-4.5 0z",
  cross: "M-4 -1.2h2.8v-2.8h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8z",
  ring: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0m2.5 0a2 2 0 1 1 4 0a2 2 0 1 1 -4 0",
};

// ---------------------------------------------------------------- settings that act on the next step

function learningRate(link) {
  const slider = h("input", { type: "range", min: -5, max: 0, step: 0.05, hook: "lr" });
  const text = h("input", { type: "text", inputmode: "decimal", hook: "lr-text", autocomplete: "off", "aria-label": "Learning rate, typed", class: "lk-number" });
  const { el, error } = field("Learning rate", slider, { hook: "lr-error" });
  text.setAttribute("aria-describedby", error.id);
  const held = new Held(link, error, text, "lr");
  let placed = NaN;
  slider.before(text);

  slider.addEventListener("input", () => {
    const value = Number((10 ** Number(slider.value)).toPrecision(2));
    place(value);
    held.send(value);
  });
  const typed = () => text.value.trim() !== text.dataset.shown && held.send(number(text.value));
  text.addEventListener("change", typed);
  text.addEventListener("keydown", (event) => event.key === "Enter" && typed());

  function place(value) {
    const words = rate(value);
    if (words === text.dataset.shown && words === text.value && value === placed) return;
    text.value = text.dataset.shown = words;
    slider.value = Math.log10(value);
    setAttribute(slider, "aria-valuetext", words);
    placed = value;
  }

  function update(story) {
    if (held.free(story)) place(story.state.settings.lr);
  }

  return { el, update };
}

// The range test: one key, a curve, a rate to take over. The run stands still meanwhile and is as it was afterwards.
function finder(link, view) {
  const error = problem("find-lr-error");
  const start = button("Find a rate (f)", "find-lr", () => act(link, error, "find_lr", { stop: link.story.state?.finding != null }), { "aria-keyshortcuts": "f" });
  const words = h("p", { class: "lk-note" });
  const curve = h("div", { class: "lk-curve" });
  const use = button("", "use-lr", () => act(link, error, "set", { lr: Number(shown.suggestion.toPrecision(2)) }));
  const hide = button("Hide", "found-hide", () => {
    set(found, "hidden", true);
    start.focus();
  });
  const found = h("div", { class: "lk-found", hook: "found", role: "group", "aria-label": "Range test", hidden: true }, curve, words, h("div", { class: "lk-buttons" }, use, hide));
  let shown = null;

  // A single letter is a key only where no text is typed, and only while the focus is in the console.
  view.root.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=range], [type=radio]), select, textarea");
    if (event.key !== "f" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    start.click();
  });

  function update(story) {
    const { finding, active } = story.state;
    offer(start, refusal(story, "find_lr"));
    setText(start, finding == null ? "Find a rate (f)" : `Stop: ${Math.round(100 * finding)} % tried`);
    if (story.finder !== shown) {
      shown = story.finder;
      set(found, "hidden", !shown.lrs);
      setText(error, shown.error ?? "");
      if (shown.lrs) {
        setText(words, shown.text);
        curve.replaceChildren(rateCurve(shown));
        set(use, "hidden", shown.suggestion == null);
        setText(use, `Use ${rate(Number(shown.suggestion?.toPrecision(2)))}`);
      }
    }
    if (shown && shown.run !== active) set(found, "hidden", true); // it is of another run
  }

  return { el: h("div", { class: "lk-finder" }, h("div", { class: "lk-buttons" }, start), error, found), update };
}

// Loss against the rate, on a logarithmic axis: dots are single batches, the line their running mean.
function rateCurve({ lrs, losses, smoothed, suggestion, current, text }) {
  const [width, height, left, bottom] = [280, 150, 34, 32];
  const [from, to] = [Math.log10(lrs[0]), Math.log10(lrs.at(-1))];
  const top = 1.15 * Math.max(losses[0], smoothed[0]);
  const floor = Math.min(...smoothed.filter((value) => value != null), top / 2) * 0.8;
  const x = (lr) => left + ((width - left - 8) * (Math.log10(lr) - from)) / (to - from || 1);
  const y = (loss) => 8 + (height - bottom - 8) * (1 - (Math.min(Math.max(loss, floor), top) - floor) / (top - floor));
  const word = (content, at) => svg("text", at, content);
  const place = (value, name) => {
    if (value == null || value < lrs[0] || value > lrs.at(-1)) return [];
    const at = { x1: x(value), x2: x(value), y1: 8, y2: height - bottom };
    return [svg("line", { ...at, class: `lk-at-${name}` }), word(name === "try" ? "try" : "now", { x: x(value) + 3, y: name === "try" ? 16 : 28 })];
  };
  const dots = lrs.map((lr, i) => (losses[i] == null ? null : svg("circle", { cx: x(lr), cy: y(losses[i]), r: 1.3 }))).filter(Boolean);
  const line = svg("polyline", { points: lrs.map((lr, i) => (smoothed[i] == null ? "" : `${x(lr).toFixed(1)},${y(smoothed[i]).toFixed(1)}`)).join(" ") });
  const decades = [];
  for (let power = Math.ceil(from); power <= to + 0.01; power += to - from > 4 ? 2 : 1) decades.push(word(rate(10 ** power), { x: x(10 ** power), y: height - bottom + 13, "text-anchor": "middle" }));
  const losses_ = [floor, top / 1.15].map((value) => word(trim(Number(value.toPrecision(2))), { x: left - 4, y: y(value) + 4, "text-anchor": "end" }));
  const names = [word("loss", { x: 0, y: 10 }), word("learning rate", { x: (left + width) / 2, y: height - 3, "text-anchor": "middle" })];
  const axes = svg("path", { d: `M${left} 8V${height - bottom}H${width - 8}`, class: "lk-axes" });
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Loss against learning rate. ${text}` }, axes, ...dots, line, ...place(current, "now"), ...place(suggestion, "try"), ...decades, ...losses_, ...names);
}

// A typed number, or the text itself, so that the kernel's door can say what is wrong with it.
const number = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text.trim());

function depth(link) {
  const slider = h("input", { type: "range", min: 0, max: 0, step: 1, hook: "depth" });
  const text = h("p", { class: "lk-note", hook: "depth-text", id: fresh("note") });
  const blocks = h("ol", { class: "lk-stages", hook: "stages", "aria-label": "Stages, from the image to the class" });
  const { el, error } = field("Frozen depth", slider, { hook: "depth-error", note: text });
  error.before(blocks, text);
  const held = new Held(link, error, slider, "trainable_from");
  let stages = [];

  slider.addEventListener("input", () => {
    const index = Number(slider.value);
    place(index);
    held.send(stages[index][0]);
  });

  function rebuild(next) {
    stages = next;
    slider.max = stages.length - 1;
    blocks.replaceChildren(...stages.map(([name]) => h("li", {}, h("span", { "aria-hidden": "true" }), h("span", {}, name), h("span", { class: "lk-hidden" }))));
  }

  function place(index) {
    set(slider, "value", String(index));
    [...blocks.children].forEach((block, i) => {
      const frozen = i < index;
      setAttribute(block, "data-frozen", String(frozen));
      setText(block.firstChild, frozen ? "❄" : "●");
      setText(block.lastChild, frozen ? ": frozen" : ": trains");
    });
    const words = trains(stages, index);
    setText(text, words);
    setAttribute(slider, "aria-valuetext", `${index} of ${stages.length} stages frozen; ${words}`);
  }

  function update(story) {
    if (story.active.meta.stages !== stages) rebuild(story.active.meta.stages);
    if (held.free(story)) place(stages.findIndex(([name]) => name === story.state.settings.trainable_from));
  }

  return { el, update };
}

function trains(stages, from) {
  const sum = (list) => list.reduce((total, [, count]) => total + count, 0);
  const names = stages.slice(from).map(([name]) => name);
  const text = names.length === stages.length ? "everything" : names.length > 3 ? `${names[0]} to ${names.at(-1)}` : names.join(" + ");
  return `${text}, ${amount(sum(stages.slice(from)))} of ${amount(sum(stages))} train`;
}

function moreSettings(link) {
  const error = problem("settings-error");
  const pair = h("div", { class: "lk-pair" });
  let known = "";
  let inputs = [];

  function update(story) {
    const rows = story.active.meta.fields;
    const names = rows.map((row) => row.name).join();
    if (names !== known) {
      known = names;
      inputs = rows.map((row) => setting(link, error, row));
      pair.replaceChildren(...inputs.map((input) => input.el));
    }
    for (const input of inputs) input.update(story);
  }

  return { el: h("div", {}, pair, error), update };
}

function controlOf({ name, kind }) {
  const hook = name.replaceAll("_", "-");
  if (kind === "choice") return h("select", { hook });
  if (kind === "whole") return h("input", { type: "number", min: 1, step: 1, hook });
  return h("input", { type: "text", inputmode: "decimal", hook });
}

function setting(link, error, row) {
  const { name, kind } = row;
  const control = controlOf(row);
  const { el } = field(row.label, control);
  control.setAttribute("aria-describedby", error.id);
  control.setAttribute("autocomplete", "off");
  const held = new Held(link, error, control, name);
  const changed = () => control.value !== control.dataset.shown && held.send(kind === "choice" ? control.value : number(control.value));
  control.addEventListener("change", changed);
  control.addEventListener("keydown", (event) => event.key === "Enter" && changed());

  function update(story) {
    const choices = story.active.meta.fields.find((each) => each.name === name).choices;
    offer(control, refusal(story, name));
    if (kind === "choice" && control.children.length !== choices.length) control.replaceChildren(...choices.map((text) => h("option", { value: text }, text)));
    if (!held.free(story)) return;
    const value = story.state.settings[name];
    const words = kind === "real" ? rate(value) : String(value);
    set(control, "value", words);
    setAttribute(control, "data-shown", words);
  }

  return { el, update };
}

function newRun(link) {
  const choices = [
    ["feature_extraction", "feature extraction: only the head"],
    ["partial", "partial: from the chosen stage up"],
    ["full", "full: every stage"],
    ["gradual", "gradual: thaw from the top"],
    ["from_scratch", "from scratch: no pre-training"],
  ].map(([value, text]) => h("option", { value }, text));
  const plan = field("Plan", h("select", { hook: "plan" }, ...choices));
  const seed = field("Seed", h("input", { type: "number", min: 0, step: 1, hook: "seed", autocomplete: "off" }));
  const error = problem("plan-error");
  const start = button("Start a new run", "new-run", async () => {
    setAttribute(start, "aria-busy", "true");
    await act(link, error, "plan", { preset: plan.control.value, seed: number(seed.control.value) }, seed.control);
    start.removeAttribute("aria-busy");
  });

  function update(story) {
    offer(start, refusal(story, "plan"));
    const known = seed.control.dataset.shown;
    if (known !== String(story.active.meta.seed)) seed.control.value = seed.control.dataset.shown = String(story.active.meta.seed);
  }

  const el = h("div", { class: "lk-plan" }, plan.el, seed.el, start, error);
  return { el, update };
}

// ---------------------------------------------------------------- transport: run, pause, step, and moving in time

function transport(link, view) {
  const error = problem("transport-error");
  const go = button("▶ Run", "run", () => live(go) && act(link, error, "run"));
  const halt = button("❚❚ Pause", "pause", () => live(halt) && act(link, error, "pause"));
  const step = button("Step", "step", () => act(link, error, "step"));
  const back = button("Rewind", "rewind", () => live(back) && move("rewind"));
  const fork = button("Branch", "branch", () => move("branch"));
  const reset = button("Reset", "reset", () => move("reset"), { title: "Back to the same initial weights" });
  const scrub = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, hook: "scrub", "aria-label": "Step on the timeline" });
  const place = h("span", { class: "lk-muted", "aria-hidden": "true" });
  const live = (control) => control.getAttribute("aria-disabled") !== "true";
  scrub.addEventListener("input", () => view.point(scrub.value === scrub.max ? null : Number(scrub.value)));
  scrub.addEventListener("keydown", (event) => event.key === "Escape" && view.point(null));

  async function move(command) {
    const args = command === "reset" || view.cursor === null ? {} : { step: view.cursor };
    const { ok } = await act(link, error, command, args);
    if (ok) view.point(null);
  }

  function update(story) {
    const { status, step: now } = story.row;
    setAttribute(go, "aria-disabled", String(status === "running"));
    setAttribute(halt, "aria-disabled", String(status !== "running"));
    offer(back, refusal(story, "rewind"), view.cursor === null); // a place on the timeline has to be chosen first
    offer(fork, refusal(story, "branch"));
    const end = Math.max(now, view.cursor ?? 0);
    if (Number(scrub.max) !== end) scrub.max = end;
    set(scrub, "value", String(view.cursor ?? now));
    const text = view.cursor === null ? `now: step ${now}` : `step ${view.cursor} of ${now}`;
    setText(place, text);
    setAttribute(scrub, "aria-valuetext", text);
    setText(back, view.cursor === null ? "Rewind" : `Rewind to ${view.cursor}`);
    setText(fork, view.cursor === null ? "Branch" : `Branch at ${view.cursor}`);
  }

  const buttons = h("div", { class: "lk-buttons" }, go, halt, step, back, fork, reset);
  return { el: h("div", { class: "lk-transport" }, h("div", { class: "lk-scrub" }, scrub, place), buttons, error), update };
}

// ---------------------------------------------------------------- charts

const MARGIN = { left: 44, right: 74, top: 50, bottom: 34 }; // px; above the plot is room for two rows of marker names
const FONT = "12px system-ui, -apple-system, 'Segoe UI', sans-serif";

class Chart {
  constructor(view, what) {
    this.view = view;
    this.what = what;
    this.title = what === "loss" ? "Loss" : "Accuracy";
    this.canvas = h("canvas", { hook: `chart-${what}`, role: "img", "aria-label": `${this.title}: nothing yet` });
    Object.assign(this.canvas.dataset, { points: 0, frames: 0, lastGapMs: 0, maxGapMs: 0, marks: 0, runs: 0 });
    this.el = h("figure", { class: "lk-chart" }, h("figcaption", {}, this.title), this.canvas);
    this.layer = document.createElement("canvas"); // never shown: what is kept from frame to frame
    this.drawn = new Map(); // of each run, what the layer has
    this.last = null;
    this.frames = this.longest = this.marked = 0;
    this.width = this.height = 0; // px, until the page says it
    this.canvas.addEventListener("pointerdown", (event) => this.grab(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons === 1 && this.grab(event));
  }

  // Pointing at a chart moves the same cursor as the slider below it.
  grab(event) {
    if (!this.scale) return;
    const x = event.clientX - this.canvas.getBoundingClientRect().left;
    this.view.point(Math.round(this.scale.step(x)));
  }

  // Draws when something that this picture shows is new: points, a place on the timeline, names.
  update(story, now) {
    const names = story.state.runs.map((row) => row.name).join();
    const stamp = [story.edition, story.state.active, story.row?.total, names, this.view.cursor, this.canvasStamp()].join("|");
    if (stamp === this.stamp || this.width < 50) return;
    this.stamp = stamp;
    this.draw(story, now);
  }

  canvasStamp() {
    return [this.view.looks, this.width, this.height, window.devicePixelRatio].join("|");
  }

  // The page says how large the canvas is: asking for it would make the page lay itself out in the middle of a frame.
  resize({ width, height }) {
    Object.assign(this, { width, height });
  }

  draw(story, now) {
    const tracks = [...story.runs.values()].filter((track) => track !== story.active).slice(-5);
    if (story.active) tracks.push(story.active); // the active run lies on top
    this.scale = this.range(tracks, story.row);
    this.past(tracks, story.active);
    const paint = prepare(this.canvas, this);
    paint.save();
    paint.setTransform(1, 0, 0, 1, 0, 0);
    paint.drawImage(this.layer, 0, 0);
    paint.restore();
    this.ends(paint, tracks, story.active);
    this.cursor(paint);
    this.note(now, tracks.length);
  }

  // Axes, curves and markers, on a layer that is kept: as long as the axes hold and runs only go on, it gets the new
  // steps and nothing is drawn twice.
  past(tracks, active) {
    const { steps, top } = this.scale;
    const stamp = [steps, top, active?.id, this.canvasStamp(), ...tracks.map((track) => `${track.id}:${track.turns}`)].join("|");
    if (stamp !== this.layered) {
      this.layered = stamp;
      this.drawn = new Map();
      const paint = prepare(this.layer, this);
      this.axes(paint);
      this.inside(paint, () => tracks.forEach((track) => this.track(paint, track, track === active)));
      this.marked = active ? this.marks(paint, active) : 0;
    } else {
      const paint = this.layer.getContext("2d");
      this.inside(paint, () => tracks.forEach((track) => this.extend(paint, track, track === active)));
    }
  }

  inside(paint, draw) {
    paint.save();
    paint.beginPath();
    paint.rect(MARGIN.left - 6, MARGIN.top - 6, this.width - MARGIN.left - MARGIN.right + 12, this.height - MARGIN.top - MARGIN.bottom + 12);
    paint.clip();
    draw();
    paint.restore();
  }

  range(tracks, row) {
    const reached = Math.max(10, ...tracks.map((track) => track.last), this.view.cursor ?? 0);
    const total = row?.total ?? reached;
    const steps = reached >= 0.6 * total ? Math.max(total, reached) : Math.min(total, nice(1.3 * reached));
    const top = this.what === "loss" ? this.ceiling(tracks) : 100;
    const [w, ht] = [this.width - MARGIN.left - MARGIN.right, this.height - MARGIN.top - MARGIN.bottom];
    return {
      steps,
      top,
      x: (step) => MARGIN.left + (w * step) / steps,
      y: (value) => MARGIN.top + ht * (1 - Math.min(value, top * 1.02) / top),
      step: (x) => Math.min(Math.max((steps * (x - MARGIN.left)) / w, 0), this.view.link.story.row?.step ?? 0),
    };
  }

  // A run that diverges must not flatten all others: the axis ends at four times the loss at the start.
  ceiling(tracks) {
    const seen = tracks.flatMap((track) => [...track.valid("loss"), ...track.curve("loss", 60)]).map((point) => point[1]);
    const finite = seen.filter(Number.isFinite);
    if (!finite.length) return 1;
    const start = Math.max(...tracks.map((track) => track.epochs[0]?.loss ?? 0), 0.5);
    return nice(1.05 * Math.min(Math.max(0.1, ...finite), 4 * start));
  }

  axes(paint) {
    const { fg, muted, line } = this.view.ink;
    const { scale } = this;
    const bottom = this.height - MARGIN.bottom;
    paint.lineWidth = 1;
    paint.textBaseline = "middle";
    paint.textAlign = "right";
    for (const value of ticks(scale.top, 4)) {
      const y = Math.round(scale.y(value)) + 0.5;
      stroke(paint, line, [], [[MARGIN.left, y], [this.width - MARGIN.right, y]]);
      write(paint, muted, trim(value), MARGIN.left - 6, y);
    }
    paint.textBaseline = "top";
    paint.textAlign = "center";
    for (const value of ticks(scale.steps, Math.max(2, Math.floor(this.width / 110)))) write(paint, muted, trim(value), scale.x(value), bottom + 5);
    paint.textAlign = "right";
    write(paint, fg, "step", this.width - 4, bottom + 5); // clear of the last number, however long that is
    paint.textAlign = "left";
    write(paint, fg, this.what === "loss" ? "loss" : "accuracy (%)", 4, 2);
  }

  place([step, value]) {
    return [this.scale.x(step), Number.isFinite(value) ? this.scale.y(value) : NaN];
  }

  track(paint, track, active) {
    const colour = this.view.colour(track.order);
    const place = (point) => this.place(point);
    const valid = track.valid(this.what).map(place);
    paint.globalAlpha = 0.6;
    for (const ghost of track.ghosts) stroke(paint, colour, [2, 4], ghost[this.what].map(place));
    const train = this.train(paint, track, active, track.curve(this.what, Math.max(60, Math.round(this.width))), 0);
    paint.globalAlpha = active ? 1 : 0.75;
    paint.lineWidth = active ? 2.25 : 1.5;
    stroke(paint, colour, [], valid);
    paint.fillStyle = colour;
    const every = Math.max(1, Math.ceil(valid.length / 24));
    valid.forEach((point, i) => (i % every === 0 || i === valid.length - 1) && dot(paint, track.order, point));
    paint.globalAlpha = 1;
    this.drawn.set(track, { steps: track.steps.length, length: train, points: valid.length + track.steps.length });
  }

  // The steps made since: the dashes go on where they stopped.
  extend(paint, track, active) {
    const drawn = this.drawn.get(track);
    const count = track.steps.length;
    if (!drawn || drawn.steps === count) return;
    const points = [];
    for (let i = Math.max(0, drawn.steps - 1); i < count; i++) points.push([track.steps[i], track.at(i, this.what)]);
    const length = this.train(paint, track, active, points, drawn.length);
    this.drawn.set(track, { steps: count, length, points: drawn.points + count - drawn.steps });
    paint.globalAlpha = 1;
  }

  train(paint, track, active, points, length) {
    paint.globalAlpha = active ? 1 : 0.75;
    paint.lineWidth = active ? 1.75 : 1.25;
    return stroke(paint, this.view.colour(track.order), [5, 2], points.map((point) => this.place(point)), length);
  }

  marks(paint, track) {
    const { muted } = this.view.ink;
    const marks = spaced(track.marks, this.scale.steps * 0.015);
    paint.textAlign = "left";
    paint.textBaseline = "alphabetic";
    const free = [Infinity, Infinity]; // two rows of names, filled from the newest marker backwards
    for (const mark of [...marks].reverse()) {
      const x = Math.round(this.scale.x(mark.step)) + 0.5;
      const width = paint.measureText(mark.label).width + 10;
      const row = free.findIndex((edge) => x + width < edge);
      const top = row < 0 ? MARGIN.top : MARGIN.top - 14 * row - 14;
      paint.lineWidth = 1;
      stroke(paint, muted, [1, 3], [[x, top], [x, this.height - MARGIN.bottom]]);
      if (row < 0) continue;
      free[row] = x - 4;
      this.haloed(paint, mark.label, x + 3, top + 10);
    }
    return marks.length;
  }

  // A name at the end of each curve, pushed apart so that none lies on another.
  ends(paint, tracks, active) {
    const labels = tracks.flatMap((track) => this.labels(track, track === active));
    labels.sort((a, b) => a.y - b.y);
    for (const label of labels) {
      label.text = clip(paint, label.text, this.width - label.x - 4);
      label.width = paint.measureText(label.text).width + 4;
    }
    paint.textAlign = "left";
    paint.textBaseline = "middle";
    apart(labels, 14, this.height - MARGIN.bottom);
    for (const { text, x, y, colour } of labels) this.haloed(paint, text, x, y, colour);
  }

  // Text that can be read on a line, too.
  haloed(paint, text, x, y, colour = this.view.ink.fg) {
    paint.lineWidth = 3;
    paint.lineJoin = "round";
    paint.strokeStyle = this.view.ink.bg;
    paint.strokeText(text, x, y);
    write(paint, colour, text, x, y);
  }

  labels(track, active) {
    const valid = track.valid(this.what).findLast((point) => Number.isFinite(point[1]));
    const train = [track.last, track.steps.length ? this.lastTrain(track) : NaN];
    const at = (text, [step, value]) => ({ text, x: this.scale.x(step) + 9, y: this.scale.y(value) });
    const past = active && track.ghosts.at(-1)?.[this.what].at(-1);
    const ghost = past && { ...at("rewound", past), colour: this.view.ink.muted };
    if (active) return [valid && at("valid", valid), Number.isFinite(train[1]) && at("train", train), ghost].filter(Boolean);
    const end = Number.isFinite(train[1]) && !(valid && valid[0] >= train[0]) ? train : valid;
    return end ? [at(this.view.name(track.id), end)] : [];
  }

  lastTrain(track) {
    return track.at(track.steps.length - 1, this.what);
  }

  cursor(paint) {
    if (this.view.cursor === null) return;
    const x = Math.round(this.scale.x(this.view.cursor)) + 0.5;
    paint.lineWidth = 1.5;
    const bottom = this.height - MARGIN.bottom;
    stroke(paint, this.view.ink.accent, [], [[x, MARGIN.top], [x, bottom]]);
    const text = `step ${this.view.cursor}`;
    const half = paint.measureText(text).width / 2 + 5;
    paint.fillStyle = this.view.ink.bg;
    paint.fillRect(x - half, bottom + 2, 2 * half, 18);
    paint.textAlign = "center";
    paint.textBaseline = "top";
    write(paint, this.view.ink.accent, text, x, bottom + 5);
  }

  note(now, count) {
    const gap = this.last === null ? 0 : now - this.last;
    this.last = now;
    this.frames += 1;
    this.longest = Math.max(this.longest, gap);
    const points = [...this.drawn.values()].reduce((sum, drawn) => sum + drawn.points, 0);
    const told = { points, frames: this.frames, "last-gap-ms": gap.toFixed(0), "max-gap-ms": this.longest.toFixed(0), marks: this.marked, runs: count };
    for (const [name, value] of Object.entries(told)) setAttribute(this.canvas, `data-${name}`, String(value));
  }

  // The same picture in words, for whoever cannot see it.
  describe(story) {
    const unit = this.what === "loss" ? "" : " %";
    const digits = this.what === "loss" ? 2 : 1;
    const words = [...story.runs.values()].map((track) => {
      const valid = track.valid(this.what);
      if (!valid.length && !track.steps.length) return `${this.view.name(track.id)}: nothing yet`;
      const train = track.steps.length ? `, train ${show(this.lastTrain(track), digits)}${unit}` : "";
      const held = valid.length ? `: valid from ${show(valid[0][1], digits)}${unit} to ${show(valid.at(-1)[1], digits)}${unit}` : "";
      return `${this.view.name(track.id)}, step ${track.last}${held}${train}`;
    });
    setAttribute(this.canvas, "aria-label", `${this.title} by step. ${words.join(". ")}. The table below has every epoch.`);
  }
}

function key(words, dashed) {
  const line = svg("line", { x1: 0, x2: 26, y1: 6, y2: 6, stroke: "currentColor", "stroke-width": dashed ? 1.75 : 2.25, "stroke-dasharray": dashed ? "5 2" : "none" });
  const dots = dashed ? [] : [svg("circle", { cx: 13, cy: 6, r: 3.5, fill: "currentColor" })];
  return h("span", { class: "lk-key" }, svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, line, ...dots), words);
}

// An empty canvas in CSS pixels, sharp on every screen.
function prepare(canvas, { width, height }) {
  const density = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * density), Math.round(height * density)];
  set(canvas, "width", across);
  set(canvas, "height", down);
  const paint = canvas.getContext("2d");
  paint.setTransform(density, 0, 0, density, 0, 0);
  paint.clearRect(0, 0, width, height);
  paint.font = FONT;
  return paint;
}

// Strokes a line whose dashes begin `length` px in; returns how long it is now, for a line that is drawn on later.
function stroke(paint, colour, dash, points, length = 0) {
  paint.strokeStyle = colour;
  paint.setLineDash(dash);
  paint.lineDashOffset = length;
  paint.lineJoin = "round";
  paint.beginPath();
  let pen = null;
  for (const point of points) {
    const gap = Number.isNaN(point[1]); // a loss that was not finite
    if (pen && !gap) {
      paint.lineTo(...point);
      length += Math.hypot(point[0] - pen[0], point[1] - pen[1]);
    } else if (!gap) paint.moveTo(...point);
    pen = gap ? null : point;
  }
  paint.stroke();
  paint.setLineDash([]);
  return length;
}

function write(paint, colour, text, x, y) {
  paint.fillStyle = colour;
  paint.fillText(text, x, y);
}

const paths = new Map();
function dot(paint, order, [x, y]) {
  if (Number.isNaN(y)) return;
  const shape = SHAPES[order % SHAPES.length];
  if (!paths.has(shape)) paths.set(shape, new Path2D(SHAPE_PATHS[shape]));
  paint.save();
  paint.translate(x, y);
  paint.fill(paths.get(shape), "evenodd");
  paint.restore();
}

function clip(paint, text, width) {
  if (paint.measureText(text).width <= width) return text;
  let short = text;
  while (short && paint.measureText(`${short}…`).width > width) short = short.slice(0, -1);
  return `${short}…`;
}

// Push labels that would lie on each other so far apart that each can be read: down, and where that led past `end`,
// up again. They come sorted by y.
function apart(labels, distance, end) {
  const meet = (one, other) => one.x < other.x + other.width && other.x < one.x + one.width;
  labels.forEach((label, i) => {
    for (const above of labels.slice(0, i)) if (meet(label, above)) label.y = Math.max(label.y, above.y + distance);
  });
  for (let i = labels.length - 1; i >= 0; i--) {
    labels[i].y = Math.min(labels[i].y, end);
    for (const below of labels.slice(i + 1)) if (meet(labels[i], below)) labels[i].y = Math.min(labels[i].y, below.y - distance);
  }
}

const NICE = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return NICE.find((factor) => factor * power >= value * 0.999) * power;
}

function ticks(top, count) {
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) * power;
  return Array.from({ length: Math.floor(top / step + 1e-6) + 1 }, (_, i) => i * step);
}

const trim = (value) => String(Number(value.toPrecision(6)));

const about = (mark) => mark.label.split(" ")[0];

// A slider that was dragged leaves many commands close together: the last of them is the one that counts.
function spaced(marks, distance) {
  const kept = [];
  for (const mark of marks) {
    const before = kept.at(-1);
    if (before && about(before) === about(mark) && mark.step - before.step <= distance) kept.pop();
    kept.push(mark);
  }
  return kept;
}

// ---------------------------------------------------------------- probes: drift and validation images

function drift() {
  const body = h("tbody");
  const caption = h("caption");
  const table = h("table", { class: "lk-drift", hook: "drift" }, caption, h("thead", { class: "lk-hidden" }, h("tr", {}, ...["stage", "drift", ""].map((text) => h("th", { scope: "col" }, text || "bar")))), body);
  const el = h("section", { class: "lk-section" }, table);
  const rows = new Map();

  function row(stage) {
    const [number, bar, state] = [h("td", { class: "lk-value" }), h("span", { class: "lk-bar" }), h("span", { class: "lk-muted" })];
    const tr = h("tr", { hook: "drift-row", "data-stage": stage }, h("th", { scope: "row" }, stage, " ", state), number, h("td", { class: "lk-track" }, bar));
    return { tr, number, bar, state };
  }

  function update(story) {
    const values = story.probes?.run === story.state.active ? story.probes.drift : null;
    set(el, "hidden", !values);
    if (!values) return;
    const stages = story.active.meta.stages.map(([name]) => name);
    if (body.children.length !== stages.length || stages.some((name) => !rows.has(name))) {
      rows.clear();
      body.replaceChildren(...stages.map((name) => (rows.set(name, row(name)), rows.get(name).tr)));
    }
    setText(caption, `Drift from the start, at step ${story.probes.step}`);
    const top = Math.max(0.01, ...Object.values(values));
    const from = stages.indexOf(story.state.settings.trainable_from);
    stages.forEach((name, i) => {
      const { tr, number, bar, state } = rows.get(name);
      setText(number, `${(100 * (values[name] ?? 0)).toFixed(2)} %`);
      setText(state, i < from ? "❄ frozen" : "");
      setAttribute(bar, "style", `width: ${((100 * (values[name] ?? 0)) / top).toFixed(1)}%`);
      setAttribute(tr, "data-value", String(values[name] ?? 0));
    });
  }

  return { el, update };
}

function strip() {
  const list = h("ul", { class: "lk-strip", hook: "strip" });
  const title = h("h3", {});
  const el = h("section", { class: "lk-section", hidden: true }, title, list);
  const items = new Map();

  function item(key) {
    const image = h("img", { width: 64, height: 64, alt: "" });
    const [verdict, says, truth] = [h("span", { class: "lk-verdict" }), h("span"), h("span", { class: "lk-muted" })];
    const words = h("div", {}, verdict, says, truth);
    return { el: h("li", { hook: "strip-item", "data-index": key }, image, words), image, verdict, says, truth };
  }

  function fill(entry, prediction, address) {
    const { el: box, image, verdict, says, truth } = entry;
    if (address && image.getAttribute("src") !== address) image.src = address;
    setAttribute(image, "alt", `${prediction.truth}: ${prediction.file}`);
    setAttribute(box, "title", prediction.file);
    setAttribute(box, "data-right", String(prediction.right));
    setText(verdict, prediction.right ? "✓ right" : "✗ wrong");
    setText(says, `says ${prediction.says}, ${Math.round(100 * prediction.probability)} %`);
    setText(truth, prediction.right ? "" : `is ${prediction.truth}`);
  }

  function update(story) {
    const wanted = story.probes?.run === story.state.active ? story.probes.strip : null;
    set(el, "hidden", !wanted?.length);
    if (el.hidden) return;
    setText(title, `Validation images at step ${story.probes.step}: the ${wanted.length} hardest of ${story.probes.sample}, worst first`);
    for (const prediction of wanted) {
      if (!items.has(prediction.key)) items.set(prediction.key, item(prediction.key));
      fill(items.get(prediction.key), prediction, story.pictures.get(prediction.key));
    }
    settleInto(list, wanted.map((prediction) => items.get(prediction.key).el), !story.trains());
  }

  return { el, update };
}

// A figure of the learner's choice, drawn by the kernel again and again while the run trains.
function closer(link) {
  const choice = h("select", { hook: "look" });
  const mine = field("Look closer at", choice, { hook: "look-error" });
  const [image, note] = [h("img", { hook: "look-figure", alt: "", hidden: true }), h("p", { class: "lk-muted", hook: "look-note" })];
  const held = new Held(link, mine.error, choice, "name", "look");
  choice.addEventListener("change", () => held.send(choice.value));

  function offer(looks) {
    if (choice.children.length === looks.length + 1) return;
    choice.replaceChildren(h("option", { value: "" }, "nothing more"), ...looks.map(([value, title]) => h("option", { value }, title)));
  }

  function update(story) {
    offer(story.active.meta.looks);
    const wanted = story.state.look;
    if (held.free(story)) set(choice, "value", wanted);
    const look = story.look?.name === wanted && story.look.run === story.state.active ? story.look : null;
    set(image, "hidden", !look?.address);
    if (look?.address && image.src !== look.address) image.src = look.address;
    setAttribute(image, "alt", look?.words ?? "");
    setAttribute(image, "data-step", String(look?.step ?? ""));
    const told = look ? look.error || `at step ${look.step}` : "drawing …";
    setText(note, wanted ? told : "");
  }

  return { el: h("section", { class: "lk-section lk-look" }, mine.el, image, note), update };
}

// Put `wanted` into `list` in order; what moves may glide there, so that the eye can follow it. Not while a run trains:
// fifteen frames for every move would be taken from it.
function settleInto(list, wanted, glide) {
  const now = [...list.children];
  if (now.length === wanted.length && now.every((el, i) => el === wanted[i])) return;
  const still = !glide || matchMedia("(prefers-reduced-motion: reduce)").matches;
  const before = new Map(still ? [] : now.map((el) => [el, el.getBoundingClientRect()]));
  list.replaceChildren(...wanted);
  for (const [el, from] of before) {
    if (!el.isConnected) continue;
    const to = el.getBoundingClientRect();
    const [x, y] = [from.left - to.left, from.top - to.top];
    if (x || y) el.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], { duration: 250, easing: "ease-out" });
  }
}

// ---------------------------------------------------------------- table and share line

function table(view) {
  const body = h("tbody");
  const commands = h("ul", { class: "lk-commands" });
  const columns = ["run", "epoch", "step", "train loss", "train accuracy", "valid loss", "valid accuracy", "seconds"];
  const grid = h("table", { class: "lk-table" }, h("caption", {}, "Every epoch of every run"), h("thead", {}, h("tr", {}, ...columns.map((text) => h("th", { scope: "col" }, text)))), body);
  const id = fresh("table");
  const region = h("div", { id, hook: "table", class: "lk-scroll", hidden: true, tabindex: 0, role: "region", "aria-label": "Every epoch and every command, as a table" }, grid, h("h3", {}, "Commands"), commands);
  const toggle = button("Show as table", "table-toggle", () => {
    region.hidden = !region.hidden;
    setAttribute(toggle, "aria-expanded", String(!region.hidden));
    setText(toggle, region.hidden ? "Show as table" : "Hide the table");
    drawn = "";
    view.changed();
  }, { "aria-expanded": "false", "aria-controls": id });
  let drawn = "";

  function cells(track, entry) {
    const count = (correct, total) => (total ? `${show(percent(correct, total), 1)} % (${correct} of ${total})` : "");
    const loss = (value) => (value === null || value === undefined ? "" : show(value, 3));
    return [view.name(track.id), entry.epoch, entry.step, loss(entry.trainLoss), count(entry.trainCorrect, entry.trainCount), loss(entry.loss), count(entry.correct, entry.count), entry.seconds == null ? "" : entry.seconds.toFixed(1)];
  }

  function update(story) {
    if (region.hidden) return;
    const tracks = [...story.runs.values()];
    const stamp = tracks.map((track) => `${view.name(track.id)}${track.turns}`).join();
    if (stamp === drawn) return;
    drawn = stamp;
    body.replaceChildren(...tracks.flatMap((track) => track.epochs.map((entry) => h("tr", {}, ...cells(track, entry).map((text) => h("td", {}, String(text)))))));
    const lines = tracks.flatMap((track) => track.marks.map((mark) => h("li", {}, `${view.name(track.id)}, step ${mark.step}: ${mark.label}`)));
    commands.replaceChildren(...(lines.length ? lines : [h("li", {}, "none yet")]));
  }

  return { toggle, region, update };
}

function share(link) {
  const line = h("input", { type: "text", readonly: true, hook: "share-line", placeholder: "the whole run in one line of text" });
  const note = h("span", { class: "lk-muted", hook: "share-note", role: "status" });
  const mine = field("Share this run", line, { hook: "share-error" });
  const copy = button("Copy line", "share-copy", async () => {
    const { ok, value } = await act(link, mine.error, "share", {}, line);
    if (!ok) return;
    line.value = value;
    setText(note, (await toClipboard(line)) ? "copied" : "select it and copy");
  });
  const given = h("input", { type: "text", hook: "paste-line", autocomplete: "off", spellcheck: "false", placeholder: "a line from another learner" });
  const theirs = field("Open a shared run", given, { hook: "paste-error" });
  // A line that needs a download is opened by a second press, of a button that says so; another line asks anew.
  let asked = null;
  const ask = (line) => {
    asked = line;
    setText(open, line === null ? "Open" : "Download and open");
  };
  const open = button("Open", "paste-open", async () => {
    const line = given.value;
    const { ok, value } = await act(link, theirs.error, "paste", { line, download: line === asked }, given);
    if (value === "download") given.removeAttribute("aria-invalid"); // a question, and no mistake
    ask(value === "download" && given.value === line ? line : null);
    if (ok) given.value = "";
  });
  given.addEventListener("input", () => asked !== null && ask(null));
  given.addEventListener("keydown", (event) => event.key === "Enter" && (asked === null ? open.click() : open.focus()));
  line.after(h("span", { class: "lk-line" }, copy, note));
  given.after(h("span", { class: "lk-line" }, open));
  const update = (story) => offer(copy, refusal(story, "share"));
  return { el: h("div", { class: "lk-share", hook: "share" }, mine.el, theirs.el), update };
}

async function toClipboard(input) {
  try {
    await navigator.clipboard.writeText(input.value);
    return true;
  } catch {
    input.select(); // an output in a frame may not have the clipboard: the older way, then the learner's own hand
    return document.execCommand("copy");
  }
}

// ---------------------------------------------------------------- the view

class View {
  constructor(model, el) {
    this.link = new Link(model, this);
    this.cursor = null; // the step pointed at, or null for now
    this.near = true; // scrolled to, or almost; until the page says otherwise
    this.stale = false; // something is new and was not drawn, as nobody sees it
    this.frames = 0;
    this.root = h("section", { class: "labkit", hook: "console", "aria-label": "Fine-tuning console" });
    this.root.addEventListener("keydown", (event) => event.stopPropagation()); // JupyterLab would eat the arrows
    this.theme = themeOf();
    this.build();
    el.replaceChildren(this.root);
    this.watch();
    this.retheme();
    this.link.open();
  }

  build() {
    const { link } = this;
    this.charts = [new Chart(this, "loss"), new Chart(this, "accuracy")];
    const [top, bad, family] = [header(link), failure(link), runs(link, this)];
    const [lr, search, frozen] = [learningRate(link), finder(link, this), depth(link)];
    const [more, plan] = [moreSettings(link), newRun(link)];
    const [tape, bars, images, sight] = [transport(link, this), drift(), strip(), closer(link)];
    const [grid, line] = [table(this), share(link)];
    this.header = top;
    this.parts = [top, bad, family, lr, search, frozen, more, plan, tape, bars, images, sight, grid, line];
    this.family = family;
    const settings = h("div", { class: "lk-settings" }, lr.el, search.el, frozen.el, more.el, h("details", { class: "lk-more" }, h("summary", {}, "New run"), plan.el));
    const keys = h("div", { class: "lk-line" }, key(`train, mean of the last ${WINDOW} steps`, true), key("valid, each epoch", false));
    const charts = h("div", { class: "lk-stage" }, keys, h("div", { class: "lk-charts" }, ...this.charts.map((chart) => chart.el)), tape.el);
    const work = h("div", { class: "lk-work" }, h("div", { class: "lk-column" }, charts, images.el, sight.el), h("div", { class: "lk-column" }, settings, bars.el));
    const foot = h("details", { class: "lk-more" }, h("summary", {}, "Share"), line.el);
    this.body = h("div", { class: "lk-body", hidden: true }, top.el, bad.el, family.el, work, h("div", { class: "lk-foot" }, grid.toggle, foot), grid.region);
    this.wait = h("p", { class: "lk-wait", role: "status" }, "Opening the console …");
    this.root.append(this.wait, this.body);
  }

  watch() {
    // Also when the page takes the view in: a host may render it beforehand, and until then it has no colours.
    this.resizes = new ResizeObserver((entries) => this.resized(entries));
    for (const el of [this.root, ...this.charts.map((chart) => chart.canvas)]) this.resizes.observe(el);
    this.themes = new MutationObserver(() => this.retheme());
    for (const el of [document.documentElement, document.body]) this.themes.observe(el, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class", "theme"] });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.onscheme = () => this.retheme();
    this.scheme.addEventListener("change", this.onscheme);
    this.sights = new IntersectionObserver((entries) => this.look(entries.at(-1).isIntersecting), { rootMargin: "100px" });
    this.sights.observe(this.root);
    this.onfront = () => this.seen();
    document.addEventListener("visibilitychange", this.onfront);
    this.words = setInterval(() => this.describe(), SPEAK_MS);
  }

  // Whether anybody can see the view: it is scrolled to, and its tab is in front.
  inSight() {
    return this.near && !document.hidden;
  }

  look(near) {
    const before = this.near;
    this.near = near;
    if (near !== before) this.seen();
  }

  seen() {
    if (!this.inSight()) return;
    this.link.wake();
    if (this.stale) this.changed();
  }

  close() {
    this.link.close();
    this.resizes.disconnect();
    this.themes.disconnect();
    this.scheme.removeEventListener("change", this.onscheme);
    this.sights.disconnect();
    document.removeEventListener("visibilitychange", this.onfront);
    clearInterval(this.words);
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }

  resized(entries) {
    for (const { target, contentRect } of entries) {
      const chart = this.charts.find((each) => each.canvas === target);
      if (chart) chart.resize(contentRect);
    }
    this.retheme();
    this.changed();
  }

  retheme() {
    this.theme = themeOf();
    setAttribute(this.root, "data-theme", this.theme);
    const style = getComputedStyle(this.root);
    const ink = (name) => style.getPropertyValue(`--lk-${name}`).trim();
    this.ink = { fg: ink("fg"), muted: ink("muted"), line: ink("line"), accent: ink("accent"), bg: style.backgroundColor };
    const looks = JSON.stringify([this.theme, this.ink]);
    if (looks === this.looks) return;
    this.looks = looks;
    this.family.recolour();
    this.changed();
  }

  colour(order) {
    return COLOURS[this.theme][order % COLOURS[this.theme].length];
  }

  name(id) {
    return this.link.story.state?.runs.find((row) => row.id === id)?.name ?? id;
  }

  point(step) {
    this.cursor = step;
    this.changed();
  }

  acknowledged(ms) {
    this.root.dataset.ackMs = ms.toFixed(1);
  }

  // Something is new: draw once, with the next frame of the screen. Out of sight it waits, but for the first picture,
  // which gives the view its size.
  changed() {
    this.stale = !this.inSight() && !this.body.hidden;
    if (this.frame || this.stale) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      this.draw(now);
    });
  }

  draw(now) {
    const { story } = this.link;
    if (!story.state || !story.active) return;
    this.root.dataset.seq = this.link.since;
    if (this.body.hidden) {
      this.wait.remove();
      this.body.hidden = false;
    }
    for (const part of this.parts) part.update(story);
    for (const chart of this.charts) chart.update(story, now);
    this.root.dataset.frames = ++this.frames;
    if (!this.described) this.describe();
  }

  describe() {
    const { story } = this.link;
    if (!story.state || !story.active || !this.inSight()) return;
    this.described = true;
    this.header.speak(story);
    for (const chart of this.charts) chart.describe(story);
  }
}

// Jupyter, VS Code and Colab each say in their own way whether they are dark; elsewhere the system says so.
function themeOf() {
  const { body, documentElement: html } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false" ? "dark" : "light";
  if (body.className.includes("vscode-")) return /vscode-(dark|high-contrast(?!-light))/.test(body.className) ? "dark" : "light";
  if (html.getAttribute("theme")) return html.getAttribute("theme") === "dark" ? "dark" : "light";
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
