// What a hand moves: fields and buttons, the settings that act on the next step, and moving in
// time.
//
// A part of the view is {el, update(story)}. It writes only what changed.

import { fresh, h, set, setAttribute, setText } from "./ui.js";
import { amount, number, rate } from "./numbers.js";
import { rateCurve } from "./chart.js";

const HOLD_MS = 400; // a control that was just moved keeps the learner's value this long

// A labelled control with a place for its error below it.
export function field(label, control, { hook = null, note = null } = {}) {
  control.id = control.id || fresh("control");
  const error = problem(hook);
  control.setAttribute("aria-describedby", [note?.id, error.id].filter(Boolean).join(" "));
  return {
    el: h("div", { class: "lk-field" }, h("label", { for: control.id }, label), control, error),
    control,
    error,
  };
}

export function problem(hook) {
  return h("p", { class: "lk-error", role: "alert", id: fresh("error"), hook });
}

export function button(text, hook, onclick, attributes = {}) {
  return h("button", { type: "button", class: "lk-button", hook, onclick, ...attributes }, text);
}

// Send a command; an error of the kernel's door is shown in `slot`, beside the control, and what
// was typed stays.
export async function act(link, slot, command, args = {}, control = null) {
  const refuse = (text) => {
    setText(slot, text || "");
    if (text) control?.setAttribute("aria-invalid", "true");
    else control?.removeAttribute("aria-invalid");
  };
  const outcome = await link.command(command, args, refuse);
  refuse(outcome.ok ? "" : outcome.error);
  return outcome;
}

// What the run cannot do, by the name of the command or setting, with the reason: fastai's loop,
// say, cannot go back.
export const refusal = (story, name) => story.active?.meta.refuses?.[name];

// Show a control as not available, and why. A button can still be asked: the kernel answers with
// the reason.
export function offer(control, why, off = false) {
  if (control.tagName !== "BUTTON") set(control, "disabled", Boolean(why));
  else setAttribute(control, "aria-disabled", String(Boolean(why) || off));
  set(control, "title", why ?? "");
}

// A setting in the learner's hand. While it is being moved it shows the learner's value, otherwise
// the kernel's; a value that was refused stays, so that it can be mended, until another run is
// looked at.
export class Held {
  constructor(link, slot, control, name, command = "set") {
    Object.assign(this, {
      link,
      slot,
      control,
      name,
      command,
      busy: false,
      refused: false,
      next: undefined,
      until: 0,
    });
    control.addEventListener("blur", () => link.view.changed());
  }

  // At most one command in flight: while one is, only the newest value is kept.
  async send(value) {
    this.until = performance.now() + HOLD_MS;
    // Then the kernel's value is shown, also without news.
    setTimeout(() => this.link.view.changed(), HOLD_MS + 10);
    if (this.busy) {
      this.next = value;
      return;
    }
    this.busy = true;
    const { ok } = await act(
      this.link,
      this.slot,
      this.command,
      { [this.name]: value },
      this.control,
    );
    this.busy = false;
    this.refused = !ok;
    if (ok && "shown" in this.control.dataset) this.control.dataset.shown = this.control.value;
    const next = this.next;
    this.next = undefined;
    if (next !== undefined && next !== value) this.send(next);
  }

  // The value in force was typed back: there is nothing to send, and nothing wrong any more.
  withdraw() {
    if (this.refused) setText(this.slot, "");
    this.control.removeAttribute("aria-invalid");
    this.refused = false;
  }

  // Whether the kernel's value may be shown now.
  free(story) {
    if (this.run !== story.state.active) {
      this.run = story.state.active;
      this.withdraw();
      return !this.busy;
    }
    const typing =
      document.activeElement === this.control && this.control.dataset.shown !== this.control.value;
    return (
      !this.busy &&
      !this.refused &&
      performance.now() > this.until &&
      !(typing && "shown" in this.control.dataset)
    );
  }
}

// -------------------------------------------- settings that act on the next step

export function learningRate(link) {
  const slider = h("input", { type: "range", min: -5, max: 0, step: 0.05, hook: "lr" });
  const text = h("input", {
    type: "text",
    inputmode: "decimal",
    hook: "lr-text",
    autocomplete: "off",
    "aria-label": "Learning rate, typed",
    class: "lk-number",
  });
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
  const typed = () =>
    text.value.trim() === text.dataset.shown ? held.withdraw() : held.send(number(text.value));
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

// The range test: one key, a curve, a rate to take over. The run stands still meanwhile and is as
// it was afterwards.
export function finder(link, view) {
  const error = problem("find-lr-error");
  const start = button(
    "Find a rate (f)",
    "find-lr",
    () => act(link, error, "find_lr", { stop: link.story.state?.finding != null }),
    { "aria-keyshortcuts": "f" },
  );
  const words = h("p", { class: "lk-note" });
  const curve = h("div", { class: "lk-curve" });
  const use = button("", "use-lr", () =>
    act(link, error, "set", { lr: Number(shown.suggestion.toPrecision(2)) }),
  );
  const hide = button("Hide", "found-hide", () => {
    set(found, "hidden", true);
    start.focus();
  });
  const found = h(
    "div",
    { class: "lk-found", hook: "found", role: "group", "aria-label": "Range test", hidden: true },
    curve,
    words,
    h("div", { class: "lk-buttons" }, use, hide),
  );
  let shown = null;

  // A single letter is a key only where no text is typed, and only while the focus is in the
  // console.
  view.root.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=range], [type=radio]), select, textarea");
    if (event.key !== "f" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    start.click();
  });

  function update(story) {
    const { finding, active } = story.state;
    offer(start, refusal(story, "find_lr"));
    setText(
      start,
      finding == null ? "Find a rate (f)" : `Stop: ${Math.round(100 * finding)} % tried`,
    );
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

  return {
    el: h("div", { class: "lk-finder" }, h("div", { class: "lk-buttons" }, start), error, found),
    update,
  };
}

export function depth(link) {
  const slider = h("input", { type: "range", min: 0, max: 0, step: 1, hook: "depth" });
  const text = h("p", { class: "lk-note", hook: "depth-text", id: fresh("note") });
  const blocks = h("ol", {
    class: "lk-stages",
    hook: "stages",
    "aria-label": "Stages, from the image to the class",
  });
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
    blocks.replaceChildren(
      ...stages.map(([name]) =>
        h(
          "li",
          {},
          h("span", { "aria-hidden": "true" }),
          h("span", {}, name),
          h("span", { class: "lk-hidden" }),
        ),
      ),
    );
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
    if (held.free(story))
      place(stages.findIndex(([name]) => name === story.state.settings.trainable_from));
  }

  return { el, update };
}

export function trains(stages, from) {
  const sum = (list) => list.reduce((total, [, count]) => total + count, 0);
  const names = stages.slice(from).map(([name]) => name);
  const text =
    names.length === stages.length
      ? "everything"
      : names.length > 3
        ? `${names[0]} to ${names.at(-1)}`
        : names.join(" + ");
  return `${text}, ${amount(sum(stages.slice(from)))} of ${amount(sum(stages))} train`;
}

export function moreSettings(link) {
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
  const changed = () =>
    control.value === control.dataset.shown
      ? held.withdraw()
      : held.send(kind === "choice" ? control.value : number(control.value));
  control.addEventListener("change", changed);
  control.addEventListener("keydown", (event) => event.key === "Enter" && changed());

  function update(story) {
    const choices = story.active.meta.fields.find((each) => each.name === name).choices;
    offer(control, refusal(story, name));
    if (kind === "choice" && control.children.length !== choices.length)
      control.replaceChildren(...choices.map((text) => h("option", { value: text }, text)));
    if (!held.free(story)) return;
    const value = story.state.settings[name];
    const words = kind === "real" ? rate(value) : String(value);
    set(control, "value", words);
    setAttribute(control, "data-shown", words);
  }

  return { el, update };
}

export function newRun(link) {
  const choices = [
    ["feature_extraction", "feature extraction: only the head"],
    ["partial", "partial: from the chosen stage up"],
    ["full", "full: every stage"],
    ["gradual", "gradual: thaw from the top"],
    ["from_scratch", "from scratch: no pre-training"],
  ].map(([value, text]) => h("option", { value }, text));
  const plan = field("Plan", h("select", { hook: "plan" }, ...choices));
  const seed = field(
    "Seed",
    h("input", { type: "number", min: 0, step: 1, hook: "seed", autocomplete: "off" }),
  );
  const error = problem("plan-error");
  const start = button("Start a new run", "new-run", async () => {
    setAttribute(start, "aria-busy", "true");
    await act(
      link,
      error,
      "plan",
      { preset: plan.control.value, seed: number(seed.control.value) },
      seed.control,
    );
    start.removeAttribute("aria-busy");
  });

  function update(story) {
    offer(start, refusal(story, "plan"));
    const known = seed.control.dataset.shown;
    if (known !== String(story.active.meta.seed))
      seed.control.value = seed.control.dataset.shown = String(story.active.meta.seed);
  }

  const el = h("div", { class: "lk-plan" }, plan.el, seed.el, start, error);
  return { el, update };
}

// -------------------------------------------- transport: run, pause, step, and moving in time

export function transport(link, view) {
  const error = problem("transport-error");
  const go = button("▶ Run", "run", () => live(go) && act(link, error, "run"));
  const halt = button("❚❚ Pause", "pause", () => live(halt) && act(link, error, "pause"));
  const step = button("Step", "step", () => act(link, error, "step"));
  const back = button("Rewind", "rewind", () => live(back) && move("rewind"));
  const fork = button("Branch", "branch", () => move("branch"));
  const reset = button("Reset", "reset", () => move("reset"), {
    title: "Back to the same initial weights",
  });
  const scrub = h("input", {
    type: "range",
    min: 0,
    max: 0,
    step: 1,
    value: 0,
    hook: "scrub",
    "aria-label": "Step on the timeline",
  });
  const place = h("span", { class: "lk-muted", "aria-hidden": "true" });
  const live = (control) => control.getAttribute("aria-disabled") !== "true";
  scrub.addEventListener("input", () =>
    view.point(scrub.value === scrub.max ? null : Number(scrub.value)),
  );
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
    // A place on the timeline has to be chosen first.
    offer(back, refusal(story, "rewind"), view.cursor === null);
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
  return {
    el: h(
      "div",
      { class: "lk-transport" },
      h("div", { class: "lk-scrub" }, scrub, place),
      buttons,
      error,
    ),
    update,
  };
}
