// Everything that a console draws, rebuilt from the run's journal alone: close the tab, reload,
// open a second view, and the story is read again from its first line. Nothing here knows of a
// page.

import { percent } from "./numbers.js";

export const WINDOW = 20; // steps over which the train curve is averaged, by exact counts
export const GHOSTS = 3; // futures that were rewound and stay visible, faintly

// How each kind of point is read. The first item is the kind, the second the run's id; losses may
// be null (not finite).
export const POINTS = {
  n: (story, [, id, meta]) => story.runs.set(id, new Track(id, meta, story.runs.size)), // a new run
  s: (story, [, id, step, loss, correct, count]) =>
    story.runs.get(id)?.step(step, loss, correct, count),
  e: (story, [, id, step, epoch, ...numbers]) => story.runs.get(id)?.epoch(step, epoch, numbers),
  c: (story, [, id, step, , kind, label, error]) =>
    !error && label && story.runs.get(id)?.mark(step, kind, label),
  p: (story, [, id, step, label]) => story.runs.get(id)?.mark(step, "phase", label),
  r: (story, [, id, step]) => story.runs.get(id)?.rewound(step),
};

export class Story {
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
    return (
      this.state?.finding != null ||
      Boolean(this.state?.runs.some((row) => row.status === "running"))
    );
  }

  get active() {
    return this.state && this.runs.get(this.state.active);
  }

  get row() {
    return this.state && this.state.runs.find((row) => row.id === this.state.active);
  }
}

// One run: its steps with running sums, so that the mean of any window is one subtraction of exact
// counts.
export class Track {
  constructor(id, meta, order) {
    Object.assign(this, { id, meta, order, ghosts: [], marks: [], epochs: [] });
    // Counts all that is more than one step further, so that a picture of it has to be drawn anew.
    this.turns = 0;
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
    this.epochs.push({
      step,
      epoch,
      trainLoss,
      trainCorrect,
      trainCount,
      loss,
      correct,
      count,
      seconds,
    });
  }

  mark(step, kind, label) {
    this.turns += 1;
    this.marks.push({ step, kind, label });
  }

  // What came after `step` is no longer this run's past; it stays as a faint ghost, to compare
  // with. A command given at `step` was for the steps after it, so the run forgets it, too; an
  // epoch or a phase is marked where it came about.
  rewound(step) {
    this.turns += 1;
    const keep = this.steps.findIndex((value) => value > step);
    const ghost = {
      loss: this.curve("loss", 200, step),
      accuracy: this.curve("accuracy", 200, step),
    };
    if (ghost.loss.length > 1) this.ghosts = [...this.ghosts, ghost].slice(-GHOSTS);
    if (keep >= 0) {
      for (const list of [this.steps, this.raw]) list.length = keep;
      for (const list of Object.values(this.sums)) list.length = keep + 1;
    }
    this.epochs = this.epochs.filter((entry) => entry.step <= step);
    this.marks = this.marks.filter(
      (mark) => mark.step < step || (mark.step === step && mark.kind === "phase"),
    );
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

  // At most `columns` points [step, value] of the train curve after step `after`: as many as there
  // are pixels.
  curve(what, columns, after = -1) {
    const first = after < 0 ? 0 : this.steps.findIndex((value) => value >= after);
    if (first < 0) return [];
    const stride = Math.max(1, Math.ceil((this.steps.length - first) / columns));
    const points = [];
    for (let i = first; i < this.steps.length; i += stride)
      points.push([this.steps[i], this.at(i, what)]);
    const last = this.steps.length - 1;
    if (last > first && last % stride) points.push([this.steps[last], this.at(last, what)]);
    return points;
  }

  valid(what) {
    return this.epochs.map((entry) => [
      entry.step,
      what === "loss" ? entry.loss : percent(entry.correct, entry.count),
    ]);
  }

  get last() {
    return this.steps.at(-1) ?? this.epochs.at(-1)?.step ?? 0;
  }
}
