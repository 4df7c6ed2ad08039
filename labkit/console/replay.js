// A recorded console in a page without a kernel. `Recording` is the `model` that the console is
// given: it takes the console's messages and answers them from what replay.py has kept, as far as
// the clock has come. Above the console lies a bar with a clock of its own: play, pause, speed, and
// a slider over time. Nothing plays by itself.
//
// What would steer a kernel is disabled, and the bar says so. Going back in time opens a new view,
// because a console's story only goes on.
//
// Marked up as    <div class="labkit-replay" data-recording="file.js" data-notebook="file.ipynb">
//                 what shows without</div>
// where file.js says `(window.labkitRecordings ??= {})["file.js"] = {...}`: a page opened from a
// file may not fetch JSON.
// Stable hooks    replay (the bar; data-seconds: where its clock is), replay-play, replay-time,
//                 replay-place, replay-speed, replay-note

import { h } from "./js/ui.js";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
const TICK_MS = 100;
const SWAP_MS = 150; // a new view is shown when it has drawn what it was told
const FREE = ["table-toggle"]; // what may be used in a recording
const SAYS = "This is a recording. Open the notebook to steer.";

// ---------------------------------------------------------------- the kernel's side

// What was recorded, with the place on the tape, the state and the probes as they were at every
// frame.
class Tape {
  constructor({ frames, pictures, seconds, trained }) {
    Object.assign(this, { pictures, seconds, trained, points: [], frames: [] });
    let [state, probes] = [{}, null];
    for (const frame of frames) {
      this.points.push(...frame.points.map(refusing));
      state = frame.state ? { ...state, ...frame.state } : state;
      probes = frame.probes ?? probes;
      this.frames.push({ t: frame.t, seq: this.points.length, state, probes });
    }
  }

  // The last frame that had come by then.
  at(seconds) {
    let [low, high] = [0, this.frames.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.frames[middle].t <= seconds + 1e-6) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

// A new run, which refuses whatever it is asked to do: so the console itself says so beside what it
// offers.
function refusing(point) {
  const [kind, id, meta] = point;
  return kind === "n"
    ? [kind, id, { ...meta, refuses: new Proxy({}, { get: () => SAYS }) }]
    : point;
}

class Recording {
  constructor(tape, clock) {
    Object.assign(this, { tape, clock, listeners: new Set() });
  }

  on(_, listener) {
    this.listeners.add(listener);
  }

  off(_, listener) {
    this.listeners.delete(listener);
  }

  send(message) {
    const reply = { client: message.client, ...this.answer(message) };
    setTimeout(() => this.listeners.forEach((listener) => listener(reply)), 0);
  }

  answer(message) {
    if (message.kind === "poll") return this.delta(message);
    if (message.kind === "images")
      return {
        kind: "images",
        images: message.keys.map((key) => [key, this.tape.pictures[key] ?? ""]),
      };
    if (message.kind === "command") return { kind: "ack", id: message.id, ok: false, error: SAYS };
    return { kind: "error", error: SAYS };
  }

  delta({ n, since, known, probes }) {
    const number = this.tape.at(this.clock());
    const frame = this.tape.frames[number];
    const delta = {
      kind: "delta",
      n,
      since,
      seq: frame.seq,
      more: false,
      points: this.tape.points.slice(since, frame.seq),
    };
    if (known !== String(number))
      Object.assign(delta, { state: frame.state, known: String(number) });
    if (frame.probes && frame.probes.version !== probes) delta.probes = frame.probes;
    return delta;
  }
}

// ---------------------------------------------------------------- the bar

class Player {
  constructor(console, recording, notebook, el) {
    Object.assign(this, { console, tape: new Tape(recording), speed: 1, playing: false });
    this.place = this.tape.seconds; // seconds; at the end, so that there is something to see
    this.stage = h("div", { class: "labkit-stage" });
    this.build(notebook);
    el.replaceChildren(this.bar, this.stage);
    this.open();
    this.tell();
  }

  build(notebook) {
    this.button = h("button", {
      type: "button",
      class: "lk-button",
      hook: "replay-play",
      onclick: () => this.toggle(),
    });
    this.slider = h("input", {
      type: "range",
      min: 0,
      max: this.tape.seconds,
      step: 0.1,
      hook: "replay-time",
      "aria-label": "Time in the recording",
    });
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.words = h("span", { class: "lk-muted", hook: "replay-place", "aria-hidden": "true" });
    const speeds = h(
      "select",
      { hook: "replay-speed", onchange: () => this.hasten(Number(speeds.value)) },
      ...SPEEDS.map((speed) => h("option", { value: speed }, `${speed} ×`)),
    );
    speeds.value = "1";
    const line = h(
      "div",
      { class: "lk-line" },
      this.button,
      this.slider,
      this.words,
      h("label", { class: "lk-inline" }, "Speed", speeds),
    );
    const open = notebook ? h("a", { href: notebook }, "Open the notebook") : "Open the notebook";
    const said = h(
      "p",
      { hook: "replay-note" },
      "This is a recording of a real run; its controls only show what was done. ",
      open,
      ` to steer. ${this.pace()}`,
    );
    this.bar = h(
      "section",
      { class: "labkit lk-theme labkit-player", hook: "replay", "aria-label": "Recorded run" },
      said,
      line,
    );
  }

  pace() {
    const { seconds, trained } = this.tape;
    const words = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
    const took = `The steps took ${words(trained)}`;
    return `${took}; the replay takes ${words(seconds)}, with time to look.`;
  }

  // Where the clock is, in seconds.
  now() {
    if (!this.playing) return this.place;
    return Math.min(
      this.tape.seconds,
      this.place + ((performance.now() - this.since) / 1000) * this.speed,
    );
  }

  toggle() {
    if (this.playing) this.halt();
    else {
      if (this.place >= this.tape.seconds) this.seek(0);
      this.since = performance.now();
      this.playing = true;
      this.timer = setInterval(() => this.tick(), TICK_MS);
    }
    this.tell();
  }

  tick() {
    if (this.now() >= this.tape.seconds) this.halt();
    this.tell();
  }

  halt() {
    this.place = this.now();
    this.playing = false;
    clearInterval(this.timer);
  }

  hasten(speed) {
    this.place = this.now();
    this.since = performance.now();
    this.speed = speed;
  }

  seek(seconds) {
    const back = seconds < this.now();
    this.place = seconds;
    this.since = performance.now();
    if (back && !this.opening) this.opening = requestAnimationFrame(() => this.open());
    this.tell();
  }

  // A new view, shown in place of the old one when it has drawn.
  open() {
    this.opening = 0;
    const { shown } = this;
    const el = h("div", { class: shown ? "labkit-next" : "" });
    this.stage.append(el);
    const close = this.console.render({ model: new Recording(this.tape, () => this.now()), el });
    const still = () =>
      el
        .querySelectorAll("input, select, button")
        .forEach((control) => !FREE.includes(control.dataset.labkit) && (control.disabled = true));
    const watch = new MutationObserver(still);
    watch.observe(el, { childList: true, subtree: true });
    still();
    this.shown = { el, close: () => (watch.disconnect(), close(), el.remove()) };
    if (shown) setTimeout(() => (el.classList.remove("labkit-next"), shown.close()), SWAP_MS);
  }

  tell() {
    const now = this.now();
    const end = now >= this.tape.seconds;
    const { state } = this.tape.frames[this.tape.at(now)];
    const { step } = state.runs.find((row) => row.id === state.active);
    this.button.textContent = this.playing ? "❚❚ Pause" : end ? "▶ Play from the start" : "▶ Play";
    this.slider.value = now;
    this.words.textContent = `${now.toFixed(1)} of ${this.tape.seconds.toFixed(1)} s`;
    this.slider.setAttribute(
      "aria-valuetext",
      `${now.toFixed(1)} of ${this.tape.seconds.toFixed(1)} seconds, step ${step}`,
    );
    this.bar.dataset.seconds = now.toFixed(2);
  }
}

// ---------------------------------------------------------------- the page

// The site says in its own way whether it is dark; the console hears it in Jupyter's.
function followTheme() {
  const { documentElement: html, body } = document;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () =>
    html.dataset.theme === "dark" || (html.dataset.theme !== "light" && system.matches);
  const tell = () => {
    body.dataset.jpThemeLight = String(!dark());
    for (const bar of document.querySelectorAll(".labkit-player"))
      bar.dataset.theme = dark() ? "dark" : "light";
  };
  new MutationObserver(tell).observe(html, { attributes: true, attributeFilter: ["data-theme"] });
  system.addEventListener("change", tell);
  tell();
  return tell;
}

function start(console) {
  const tell = followTheme();
  for (const el of document.querySelectorAll(".labkit-replay")) {
    const { recording, notebook } = el.dataset;
    const script = h("script", { src: recording });
    script.addEventListener("load", () => {
      new Player(console, window.labkitRecordings[recording], notebook, el);
      tell();
    });
    document.head.append(script);
  }
}

export default { start };
