// The live console: controls and canvas on this side, the run on the kernel's side.
//
// What is shown takes processor time from what trains, often on the same two cores. So an answer
// without news touches nothing, a view that nobody sees draws nothing, a part writes only what
// changed, and a chart adds new points to a layer that is kept. A part is {el, update(story)}; a
// new panel is one more of them, listed in View.build.
//
// Stable hooks (attribute data-labkit="...") for tests and lessons; they may grow, they do not
// change:
//   root       console (also data-theme, data-ack-ms: last key-to-acknowledgement time in ms,
//              data-seq, data-frames: how often anything was brought up to date)
//   header     status, sentence, expected, progress, epoch-time, problem (a failed run),
//              problem-rewind, problem-gentler, link
//   runs       runs (the list), run-choice (one radio each, value = id), rename, branch
//   settings   lr (log slider), lr-text, lr-error, find-lr, find-lr-error, found (its curve and
//              words), use-lr, depth (slider), depth-text, depth-error, stages, batch-size, epochs,
//              augment, weight-decay, hold, settings-error
//   new run    plan, seed, new-run, plan-error
//   transport  run, pause, step, scrub (slider over the timeline), rewind, branch, reset,
//              transport-error
//   charts     chart-loss, chart-accuracy: canvases with data-points, data-frames,
//              data-last-gap-ms, data-max-gap-ms, data-marks, data-runs
//   probes     strip (one strip-item an image: data-right, data-index), drift (one drift-row a
//              stage: data-stage, data-value)
//   look       look (what to draw), look-figure (data-step), look-note, look-error
//   table      table-toggle, table
//   share      share-line, share-copy, share-note, paste-line, paste-open, paste-error

import { h, keepKeys, onTheme, setAttribute, themeOf } from "./ui.js";
import { WINDOW } from "./story.js";
import { Link } from "./link.js";
import { Chart, COLOURS, key } from "./chart.js";
import { depth, finder, learningRate, moreSettings, newRun, transport } from "./controls.js";
import { closer, drift, failure, header, runs, share, strip, table } from "./panels.js";

const SPEAK_MS = 3000; // a screen reader hears a new sentence at most this often

class View {
  constructor(model, el) {
    this.link = new Link(model, this);
    this.cursor = null; // the step pointed at, or null for now
    this.near = true; // scrolled to, or almost; until the page says otherwise
    this.stale = false; // something is new and was not drawn, as nobody sees it
    this.frames = 0;
    this.root = h("section", {
      class: "labkit lk-theme",
      hook: "console",
      "aria-label": "Fine-tuning console",
    });
    keepKeys(this.root);
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
    const [top, bad, family] = [header(), failure(link), runs(link, this)];
    const [lr, search, frozen] = [learningRate(link), finder(link, this), depth(link)];
    const [more, plan] = [moreSettings(link), newRun(link)];
    const [tape, bars, images, sight] = [transport(link, this), drift(), strip(), closer(link)];
    const [grid, line] = [table(this), share(link)];
    this.header = top;
    this.parts = [
      top,
      bad,
      family,
      lr,
      search,
      frozen,
      more,
      plan,
      tape,
      bars,
      images,
      sight,
      grid,
      line,
    ];
    this.family = family;
    const settings = h(
      "div",
      { class: "lk-settings" },
      lr.el,
      search.el,
      frozen.el,
      more.el,
      h("details", { class: "lk-more" }, h("summary", {}, "New run"), plan.el),
    );
    const keys = h(
      "div",
      { class: "lk-line" },
      key(`train, mean of the last ${WINDOW} steps`, true),
      key("valid, each epoch", false),
    );
    const charts = h(
      "div",
      { class: "lk-stage" },
      keys,
      h("div", { class: "lk-charts" }, ...this.charts.map((chart) => chart.el)),
      tape.el,
    );
    const work = h(
      "div",
      { class: "lk-work" },
      h("div", { class: "lk-column" }, charts, images.el, sight.el),
      h("div", { class: "lk-column" }, settings, bars.el),
    );
    const foot = h("details", { class: "lk-more" }, h("summary", {}, "Share"), line.el);
    this.body = h(
      "div",
      { class: "lk-body", hidden: true },
      top.el,
      bad.el,
      family.el,
      work,
      h("div", { class: "lk-foot" }, grid.toggle, foot),
      grid.region,
    );
    this.wait = h("p", { class: "lk-wait", role: "status" }, "Opening the console …");
    this.root.append(this.wait, this.body);
  }

  watch() {
    // Also when the page takes the view in: a host may render it beforehand, and until then it has
    // no colours.
    this.resizes = new ResizeObserver((entries) => this.resized(entries));
    for (const el of [this.root, ...this.charts.map((chart) => chart.canvas)])
      this.resizes.observe(el);
    this.forgetTheme = onTheme(() => this.retheme());
    this.sights = new IntersectionObserver((entries) => this.look(entries.at(-1).isIntersecting), {
      rootMargin: "100px",
    });
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
    this.forgetTheme();
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
    this.ink = {
      fg: ink("fg"),
      muted: ink("muted"),
      line: ink("line"),
      accent: ink("accent"),
      bg: style.backgroundColor,
    };
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

  // Something is new: draw once, with the next frame of the screen. Out of sight it waits, but for
  // the first picture, which gives the view its size.
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

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
