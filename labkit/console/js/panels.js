// What the console tells beside its charts: what is happening, the runs, drift, images, looks, the
// table, the share line.

import { fresh, h, set, setAttribute, setText } from "./ui.js";
import { moved, percent, rate, show } from "./numbers.js";
import { swatch } from "./chart.js";
import { act, button, field, Held, offer, problem, refusal } from "./controls.js";

// ---------------------------------------------------------------- header: what is happening

const STATUS = {
  ready: ["○", "ready"],
  running: ["▶", "training"],
  paused: ["❚❚", "paused"],
  ended: ["■", "ended"],
  failed: ["✕", "failed"],
};

export function header() {
  const symbol = h("span", { "aria-hidden": "true" });
  const word = h("span");
  const status = h("span", { class: "lk-status", hook: "status" }, symbol, word);
  const sentence = h("p", { class: "lk-sentence", hook: "sentence" });
  // The same, at a pace that can be listened to.
  const spoken = h("p", { class: "lk-hidden", "aria-live": "polite" });
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
    setText(
      progress,
      `step ${row.step} of ${row.total} · epoch ${row.epoch} of ${story.state.settings.epochs}`,
    );
    setText(time, timing(story.state));
    setText(
      wire,
      story.connected
        ? ""
        : "The kernel does not answer: it is busy, or it was restarted. What was drawn stays here.",
    );
    setText(sentence, story.state.sentence);
    setText(expected, story.state.expected);
  }

  const line = h("div", { class: "lk-line" }, status, progress, time);
  const speak = (story) => setText(spoken, story.state.sentence);
  return {
    el: h("header", { class: "lk-header" }, line, sentence, expected, spoken, wire),
    update,
    speak,
  };
}

export function timing(state) {
  const parts = [];
  if (state.rate)
    parts.push(`${state.rate < 10 ? state.rate.toFixed(1) : Math.round(state.rate)} steps/s`);
  if (state.epoch_seconds != null) parts.push(epochTime(state.epoch_seconds, state.saved_seconds));
  if (state.budget)
    parts.push(
      `${Math.min(...state.budget).toFixed(1)} of ${state.budget[1]} processor seconds spent`,
    );
  return parts.join(" · ");
}

// What an epoch took, and what it would have taken without the output of frozen stages kept from
// before.
export function epochTime(seconds, saved) {
  const words = (value) => `${value < 1 ? value.toPrecision(1) : value.toFixed(1)} s`;
  const took = `the last epoch took ${words(seconds)}`;
  return saved > 0.1 * seconds && saved > 0.05
    ? `${took}; with the frozen stages run again ${words(seconds + saved)}`
    : took;
}

// A run that diverged: what happened, what to try, and the way back.
export function failure(link) {
  const text = h("p");
  const error = problem("problem-error");
  const goBack = () =>
    refusal(link.story, "rewind")
      ? act(link, error, "reset")
      : act(link, error, "rewind", { step: place });
  const back = button("", "problem-rewind", goBack);
  const gentler = button("", "problem-gentler", async () => {
    const { ok } = await goBack();
    if (ok) act(link, error, "set", { lr });
  });
  const el = h(
    "div",
    { class: "lk-problem", hook: "problem", role: "alert", hidden: true },
    text,
    h("div", { class: "lk-line" }, gentler, back),
    error,
  );
  let place = 0;
  let lr = 0;

  function update(story) {
    const failed = story.state.failure;
    set(el, "hidden", !failed);
    if (!failed) return;
    place = failed.last_good;
    lr = Number((story.state.settings.lr / 10).toPrecision(3));
    const what = `Training stopped at step ${failed.step}: ${failed.reason}.`;
    setText(text, `${what} Nothing is lost: the run can go back to where it was well.`);
    setText(back, `Rewind to step ${place}`);
    setText(gentler, `Rewind to step ${place} and try a learning rate of ${rate(lr)}`);
  }

  return { el, update };
}

// ---------------------------------------------------------------- the family of runs

export function runs(link, view) {
  const group = fresh("runs");
  const list = h("div", {
    class: "lk-runs",
    hook: "runs",
    role: "radiogroup",
    "aria-label": "Run",
  });
  const name = h("input", { type: "text", hook: "rename", maxlength: 40, autocomplete: "off" });
  const error = problem("rename-error");
  const items = new Map();
  name.addEventListener("keydown", (event) => event.key === "Enter" && rename());
  name.addEventListener("change", rename);
  name.addEventListener("blur", () => view.changed());

  function rename() {
    const run = link.story.row;
    if (run && name.value.trim() && name.value !== run.name)
      act(link, error, "rename", { run: run.id, name: name.value.trim() }, name);
  }

  function item(row, track) {
    const radio = h("input", {
      type: "radio",
      name: group,
      value: row.id,
      hook: "run-choice",
      onchange: () => act(link, error, "select", { run: row.id }),
    });
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
      const valid = last && show(percent(last.correct, last.count), 1);
      setText(entry.note, `step ${row.step}${last ? ` · valid ${valid} %` : ""}`);
    }
    if (document.activeElement !== name && story.row) set(name, "value", story.row.name);
  }

  function recolour() {
    for (const entry of items.values())
      entry.el.children[1].replaceWith(swatch(entry.order, view.theme));
  }

  const rename_ = h(
    "label",
    { class: "lk-inline" },
    h("span", { class: "lk-muted" }, "Name"),
    name,
  );
  return { el: h("div", { class: "lk-family" }, list, rename_, error), update, recolour };
}

// -------------------------------------------- probes: drift and validation images

export function drift() {
  const body = h("tbody");
  const caption = h("caption");
  const table = h(
    "table",
    { class: "lk-drift", hook: "drift" },
    caption,
    h(
      "thead",
      { class: "lk-hidden" },
      h(
        "tr",
        {},
        ...["stage", "drift", ""].map((text) => h("th", { scope: "col" }, text || "bar")),
      ),
    ),
    body,
  );
  const el = h("section", { class: "lk-section" }, table);
  const rows = new Map();

  function row(stage) {
    const [number, bar, state] = [
      h("td", { class: "lk-value" }),
      h("span", { class: "lk-bar" }),
      h("span", { class: "lk-muted" }),
    ];
    const tr = h(
      "tr",
      { hook: "drift-row", "data-stage": stage },
      h("th", { scope: "row" }, stage, " ", state),
      number,
      h("td", { class: "lk-track" }, bar),
    );
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
      setText(number, moved(values[name] ?? 0));
      setText(state, i < from ? "❄ frozen" : "");
      setAttribute(bar, "style", `width: ${((100 * (values[name] ?? 0)) / top).toFixed(1)}%`);
      setAttribute(tr, "data-value", String(values[name] ?? 0));
    });
  }

  return { el, update };
}

export function strip() {
  const list = h("ul", { class: "lk-strip", hook: "strip" });
  const title = h("h3", {});
  const el = h("section", { class: "lk-section", hidden: true }, title, list);
  const items = new Map();

  function item(key) {
    const image = h("img", { width: 64, height: 64, alt: "" });
    const [verdict, says, truth] = [
      h("span", { class: "lk-verdict" }),
      h("span"),
      h("span", { class: "lk-muted" }),
    ];
    const words = h("div", {}, verdict, says, truth);
    return {
      el: h("li", { hook: "strip-item", "data-index": key }, image, words),
      image,
      verdict,
      says,
      truth,
    };
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
    const { step, sample } = story.probes;
    const which = `the ${wanted.length} hardest of ${sample}, worst first`;
    setText(title, `Validation images at step ${step}: ${which}`);
    for (const prediction of wanted) {
      if (!items.has(prediction.key)) items.set(prediction.key, item(prediction.key));
      fill(items.get(prediction.key), prediction, story.pictures.get(prediction.key));
    }
    settleInto(
      list,
      wanted.map((prediction) => items.get(prediction.key).el),
      !story.trains(),
    );
  }

  return { el, update };
}

// A figure of the learner's choice, drawn by the kernel again and again while the run trains.
export function closer(link) {
  const choice = h("select", { hook: "look" });
  const mine = field("Look closer at", choice, { hook: "look-error" });
  const [image, note] = [
    h("img", { hook: "look-figure", alt: "", hidden: true }),
    h("p", { class: "lk-muted", hook: "look-note" }),
  ];
  const held = new Held(link, mine.error, choice, "name", "look");
  choice.addEventListener("change", () => held.send(choice.value));

  function offer(looks) {
    if (choice.children.length === looks.length + 1) return;
    choice.replaceChildren(
      h("option", { value: "" }, "nothing more"),
      ...looks.map(([value, title]) => h("option", { value }, title)),
    );
  }

  function update(story) {
    offer(story.active.meta.looks);
    const wanted = story.state.look;
    if (held.free(story)) set(choice, "value", wanted);
    const look =
      story.look?.name === wanted && story.look.run === story.state.active ? story.look : null;
    set(image, "hidden", !look?.address);
    if (look?.address && image.src !== look.address) image.src = look.address;
    setAttribute(image, "alt", look?.words ?? "");
    setAttribute(image, "data-step", String(look?.step ?? ""));
    const told = look ? look.error || `at step ${look.step}` : "drawing …";
    setText(note, wanted ? told : "");
  }

  return { el: h("section", { class: "lk-section lk-look" }, mine.el, image, note), update };
}

// Put `wanted` into `list` in order; what moves may glide there, so that the eye can follow it. Not
// while a run trains: fifteen frames for every move would be taken from it.
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
    if (x || y)
      el.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], {
        duration: 250,
        easing: "ease-out",
      });
  }
}

// ---------------------------------------------------------------- table and share line

export function table(view) {
  const body = h("tbody");
  const commands = h("ul", { class: "lk-commands" });
  const columns = [
    "run",
    "epoch",
    "step",
    "train loss",
    "train accuracy",
    "valid loss",
    "valid accuracy",
    "seconds",
  ];
  const grid = h(
    "table",
    { class: "lk-table" },
    h("caption", {}, "Every epoch of every run"),
    h("thead", {}, h("tr", {}, ...columns.map((text) => h("th", { scope: "col" }, text)))),
    body,
  );
  const id = fresh("table");
  const region = h(
    "div",
    {
      id,
      hook: "table",
      class: "lk-scroll",
      hidden: true,
      tabindex: 0,
      role: "region",
      "aria-label": "Every epoch and every command, as a table",
    },
    grid,
    h("h3", {}, "Commands"),
    commands,
  );
  const toggle = button(
    "Show as table",
    "table-toggle",
    () => {
      region.hidden = !region.hidden;
      setAttribute(toggle, "aria-expanded", String(!region.hidden));
      setText(toggle, region.hidden ? "Show as table" : "Hide the table");
      drawn = "";
      view.changed();
    },
    { "aria-expanded": "false", "aria-controls": id },
  );
  let drawn = "";

  function cells(track, entry) {
    const count = (correct, total) =>
      total ? `${show(percent(correct, total), 1)} % (${correct} of ${total})` : "";
    const loss = (value) => (value === null || value === undefined ? "" : show(value, 3));
    return [
      view.name(track.id),
      entry.epoch,
      entry.step,
      loss(entry.trainLoss),
      count(entry.trainCorrect, entry.trainCount),
      loss(entry.loss),
      count(entry.correct, entry.count),
      entry.seconds == null ? "" : entry.seconds.toFixed(1),
    ];
  }

  function update(story) {
    if (region.hidden) return;
    const tracks = [...story.runs.values()];
    const stamp = tracks.map((track) => `${view.name(track.id)}${track.turns}`).join();
    if (stamp === drawn) return;
    drawn = stamp;
    body.replaceChildren(
      ...tracks.flatMap((track) =>
        track.epochs.map((entry) =>
          h("tr", {}, ...cells(track, entry).map((text) => h("td", {}, String(text)))),
        ),
      ),
    );
    const lines = tracks.flatMap((track) =>
      track.marks.map((mark) =>
        h("li", {}, `${view.name(track.id)}, step ${mark.step}: ${mark.label}`),
      ),
    );
    commands.replaceChildren(...(lines.length ? lines : [h("li", {}, "none yet")]));
  }

  return { toggle, region, update };
}

export function share(link) {
  const line = h("input", {
    type: "text",
    readonly: true,
    hook: "share-line",
    placeholder: "the whole run in one line of text",
  });
  const note = h("span", { class: "lk-muted", hook: "share-note", role: "status" });
  const mine = field("Share this run", line, { hook: "share-error" });
  const copy = button("Copy line", "share-copy", async () => {
    const { ok, value } = await act(link, mine.error, "share", {}, line);
    if (!ok) return;
    line.value = value;
    setText(note, (await toClipboard(line)) ? "copied" : "select it and copy");
  });
  const given = h("input", {
    type: "text",
    hook: "paste-line",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "a line from another learner",
  });
  const theirs = field("Open a shared run", given, { hook: "paste-error" });
  // A line that needs a download is opened by a second press, of a button that says so; another
  // line asks anew.
  let asked = null;
  const ask = (line) => {
    asked = line;
    setText(open, line === null ? "Open" : "Download and open");
  };
  const open = button("Open", "paste-open", async () => {
    const line = given.value;
    const { ok, value } = await act(
      link,
      theirs.error,
      "paste",
      { line, download: line === asked },
      given,
    );
    if (value === "download") given.removeAttribute("aria-invalid"); // a question, and no mistake
    ask(value === "download" && given.value === line ? line : null);
    if (ok) given.value = "";
  });
  given.addEventListener("input", () => asked !== null && ask(null));
  given.addEventListener(
    "keydown",
    (event) => event.key === "Enter" && (asked === null ? open.click() : open.focus()),
  );
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
    // An output in a frame may not have the clipboard: the older way, then the learner's own hand.
    input.select();
    return document.execCommand("copy");
  }
}
