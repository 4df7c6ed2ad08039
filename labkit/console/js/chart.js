// Pictures of the story: the two charts on their canvases, the curve of the range test, and the
// marks of the runs.
//
// A chart adds new points to a layer that is kept, and draws only when something that it shows is
// new.

import { h, set, setAttribute, svg } from "./ui.js";
import { nice, rate, show, ticks, trim } from "./numbers.js";

// Okabe and Ito's colours in an order that keeps 3:1 against the background; a shape goes with
// each.
export const COLOURS = {
  light: ["#0072b2", "#d55e00", "#007a5a", "#b8558c", "#000000", "#8a6d00"],
  dark: ["#56b4e9", "#e69f00", "#2fbf94", "#e29cc3", "#f0e442", "#f07b3f"],
};
const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "ring"];

const SHAPE_PATHS = {
  circle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
  square: "M-3.5 -3.5h7v7h-7z",
  triangle: "M0 -4.5L4.5 3.5H-4.5z",
  diamond: "M0 -5L4.5 0L0 5L-4.5 0z",
  cross: "M-4 -1.2h2.8v-2.8h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8z",
  ring: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0m2.5 0a2 2 0 1 1 4 0a2 2 0 1 1 -4 0",
};

export function swatch(order, theme) {
  const colour = COLOURS[theme][order % COLOURS[theme].length];
  const line = svg("line", { x1: 0, x2: 28, y1: 7, y2: 7, stroke: colour, "stroke-width": 2 });
  const path = svg("path", {
    d: SHAPE_PATHS[SHAPES[order % SHAPES.length]],
    transform: "translate(14 7)",
    fill: colour,
    stroke: colour,
    "stroke-width": 1.5,
  });
  return svg(
    "svg",
    { width: 28, height: 14, viewBox: "0 0 28 14", "aria-hidden": "true", class: "lk-swatch" },
    line,
    path,
  );
}

// Px; above the plot is room for two rows of marker names.
const MARGIN = { left: 44, right: 74, top: 50, bottom: 34 };
const FONT = "12px system-ui, -apple-system, 'Segoe UI', sans-serif";

// Where the axis of steps ends: at the plan's end, or before it while the run has not come far.
export function axisEnd(reached, total) {
  if (reached >= 0.6 * total) return Math.max(total, reached);
  return Math.min(total, nice(1.3 * reached));
}

// Where the axis of losses ends: a run that diverges must not flatten all others, so at most at
// four times the loss at the start.
export function ceiling(tracks) {
  const seen = tracks
    .flatMap((track) => [...track.valid("loss"), ...track.curve("loss", 60)])
    .map((point) => point[1]);
  const finite = seen.filter(Number.isFinite);
  if (!finite.length) return 1;
  const start = Math.max(...tracks.map((track) => track.epochs[0]?.loss ?? 0), 0.5);
  return nice(1.05 * Math.min(Math.max(0.1, ...finite), 4 * start));
}

// How steps and values lie on a canvas, in px, and which step lies where somebody points: none
// after the last that was made.
export function scale({ width, height }, steps, top, last) {
  const across = width - MARGIN.left - MARGIN.right;
  const down = height - MARGIN.top - MARGIN.bottom;
  return {
    steps,
    top,
    x: (step) => MARGIN.left + (across * step) / steps,
    y: (value) => MARGIN.top + down * (1 - Math.min(value, top * 1.02) / top),
    step: (x) => Math.min(Math.max((steps * (x - MARGIN.left)) / across, 0), last()),
  };
}

export class Chart {
  constructor(view, what) {
    this.view = view;
    this.what = what;
    this.title = what === "loss" ? "Loss" : "Accuracy";
    this.canvas = h("canvas", {
      hook: `chart-${what}`,
      role: "img",
      "aria-label": `${this.title}: nothing yet`,
    });
    Object.assign(this.canvas.dataset, {
      points: 0,
      frames: 0,
      lastGapMs: 0,
      maxGapMs: 0,
      marks: 0,
      runs: 0,
    });
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
    const stamp = [
      story.edition,
      story.state.active,
      story.row?.total,
      names,
      this.view.cursor,
      this.canvasStamp(),
    ].join("|");
    if (stamp === this.stamp || this.width < 50) return;
    this.stamp = stamp;
    this.draw(story, now);
  }

  canvasStamp() {
    return [this.view.looks, this.width, this.height, window.devicePixelRatio].join("|");
  }

  // The page says how large the canvas is: asking for it would make the page lay itself out in the
  // middle of a frame.
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

  // Axes, curves and markers, on a layer that is kept: as long as the axes hold and runs only go
  // on, it gets the new steps and nothing is drawn twice.
  past(tracks, active) {
    const { steps, top } = this.scale;
    const stamp = [
      steps,
      top,
      active?.id,
      this.canvasStamp(),
      ...tracks.map((track) => `${track.id}:${track.turns}`),
    ].join("|");
    if (stamp !== this.layered) {
      this.layered = stamp;
      this.drawn = new Map();
      const paint = prepare(this.layer, this);
      this.axes(paint);
      this.inside(paint, () =>
        tracks.forEach((track) => this.track(paint, track, track === active)),
      );
      this.marked = active ? this.marks(paint, active) : 0;
    } else {
      const paint = this.layer.getContext("2d");
      this.inside(paint, () =>
        tracks.forEach((track) => this.extend(paint, track, track === active)),
      );
    }
  }

  inside(paint, draw) {
    paint.save();
    paint.beginPath();
    paint.rect(
      MARGIN.left - 6,
      MARGIN.top - 6,
      this.width - MARGIN.left - MARGIN.right + 12,
      this.height - MARGIN.top - MARGIN.bottom + 12,
    );
    paint.clip();
    draw();
    paint.restore();
  }

  range(tracks, row) {
    const reached = Math.max(10, ...tracks.map((track) => track.last), this.view.cursor ?? 0);
    const total = row?.total ?? reached;
    const top = this.what === "loss" ? ceiling(tracks) : 100;
    return scale(this, axisEnd(reached, total), top, () => this.view.link.story.row?.step ?? 0);
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
      stroke(
        paint,
        line,
        [],
        [
          [MARGIN.left, y],
          [this.width - MARGIN.right, y],
        ],
      );
      write(paint, muted, trim(value), MARGIN.left - 6, y);
    }
    paint.textBaseline = "top";
    paint.textAlign = "center";
    for (const value of ticks(scale.steps, Math.max(2, Math.floor(this.width / 110))))
      write(paint, muted, trim(value), scale.x(value), bottom + 5);
    paint.textAlign = "right";
    // Clear of the last number, however long that is.
    write(paint, fg, "step", this.width - 4, bottom + 5);
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
    const train = this.train(
      paint,
      track,
      active,
      track.curve(this.what, Math.max(60, Math.round(this.width))),
      0,
    );
    paint.globalAlpha = active ? 1 : 0.75;
    paint.lineWidth = active ? 2.25 : 1.5;
    stroke(paint, colour, [], valid);
    paint.fillStyle = colour;
    const every = Math.max(1, Math.ceil(valid.length / 24));
    valid.forEach(
      (point, i) => (i % every === 0 || i === valid.length - 1) && dot(paint, track.order, point),
    );
    paint.globalAlpha = 1;
    this.drawn.set(track, {
      steps: track.steps.length,
      length: train,
      points: valid.length + track.steps.length,
    });
  }

  // The steps made since: the dashes go on where they stopped.
  extend(paint, track, active) {
    const drawn = this.drawn.get(track);
    const count = track.steps.length;
    if (!drawn || drawn.steps === count) return;
    const points = [];
    for (let i = Math.max(0, drawn.steps - 1); i < count; i++)
      points.push([track.steps[i], track.at(i, this.what)]);
    const length = this.train(paint, track, active, points, drawn.length);
    this.drawn.set(track, { steps: count, length, points: drawn.points + count - drawn.steps });
    paint.globalAlpha = 1;
  }

  train(paint, track, active, points, length) {
    paint.globalAlpha = active ? 1 : 0.75;
    paint.lineWidth = active ? 1.75 : 1.25;
    return stroke(
      paint,
      this.view.colour(track.order),
      [5, 2],
      points.map((point) => this.place(point)),
      length,
    );
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
      stroke(
        paint,
        muted,
        [1, 3],
        [
          [x, top],
          [x, this.height - MARGIN.bottom],
        ],
      );
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
    const at = (text, [step, value]) => ({
      text,
      x: this.scale.x(step) + 9,
      y: this.scale.y(value),
    });
    const past = active && track.ghosts.at(-1)?.[this.what].at(-1);
    const ghost = past && { ...at("rewound", past), colour: this.view.ink.muted };
    if (active)
      return [
        valid && at("valid", valid),
        Number.isFinite(train[1]) && at("train", train),
        ghost,
      ].filter(Boolean);
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
    stroke(
      paint,
      this.view.ink.accent,
      [],
      [
        [x, MARGIN.top],
        [x, bottom],
      ],
    );
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
    const told = {
      points,
      frames: this.frames,
      "last-gap-ms": gap.toFixed(0),
      "max-gap-ms": this.longest.toFixed(0),
      marks: this.marked,
      runs: count,
    };
    for (const [name, value] of Object.entries(told))
      setAttribute(this.canvas, `data-${name}`, String(value));
  }

  // The same picture in words, for whoever cannot see it.
  describe(story) {
    const unit = this.what === "loss" ? "" : " %";
    const digits = this.what === "loss" ? 2 : 1;
    const words = [...story.runs.values()].map((track) => {
      const valid = track.valid(this.what);
      if (!valid.length && !track.steps.length) return `${this.view.name(track.id)}: nothing yet`;
      const train = track.steps.length
        ? `, train ${show(this.lastTrain(track), digits)}${unit}`
        : "";
      const [first, last] = [valid[0], valid.at(-1)].map((at) => at && show(at[1], digits));
      const held = valid.length ? `: valid from ${first}${unit} to ${last}${unit}` : "";
      return `${this.view.name(track.id)}, step ${track.last}${held}${train}`;
    });
    setAttribute(
      this.canvas,
      "aria-label",
      `${this.title} by step. ${words.join(". ")}. The table below has every epoch.`,
    );
  }
}

export function key(words, dashed) {
  const line = svg("line", {
    x1: 0,
    x2: 26,
    y1: 6,
    y2: 6,
    stroke: "currentColor",
    "stroke-width": dashed ? 1.75 : 2.25,
    "stroke-dasharray": dashed ? "5 2" : "none",
  });
  const dots = dashed ? [] : [svg("circle", { cx: 13, cy: 6, r: 3.5, fill: "currentColor" })];
  return h(
    "span",
    { class: "lk-key" },
    svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, line, ...dots),
    words,
  );
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

// Strokes a line whose dashes begin `length` px in; returns how long it is now, for a line that is
// drawn on later.
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

// Push labels that would lie on each other so far apart that each can be read: down, and where that
// led past `end`, up again. They come sorted by y.
export function apart(labels, distance, end) {
  const meet = (one, other) => one.x < other.x + other.width && other.x < one.x + one.width;
  labels.forEach((label, i) => {
    for (const above of labels.slice(0, i))
      if (meet(label, above)) label.y = Math.max(label.y, above.y + distance);
  });
  for (let i = labels.length - 1; i >= 0; i--) {
    labels[i].y = Math.min(labels[i].y, end);
    for (const below of labels.slice(i + 1))
      if (meet(labels[i], below)) labels[i].y = Math.min(labels[i].y, below.y - distance);
  }
}

const about = (mark) => mark.label.split(" ")[0];

// A slider that was dragged leaves many commands close together: the last of them is the one that
// counts.
export function spaced(marks, distance) {
  const kept = [];
  for (const mark of marks) {
    const before = kept.at(-1);
    if (before && about(before) === about(mark) && mark.step - before.step <= distance) kept.pop();
    kept.push(mark);
  }
  return kept;
}

// Loss against the rate, on a logarithmic axis: dots are single batches, the line their running
// mean.
export function rateCurve({ lrs, losses, smoothed, suggestion, current, text }) {
  const [width, height, left, bottom] = [280, 150, 34, 32];
  const [from, to] = [Math.log10(lrs[0]), Math.log10(lrs.at(-1))];
  const top = 1.15 * Math.max(losses[0], smoothed[0]);
  const floor = Math.min(...smoothed.filter((value) => value != null), top / 2) * 0.8;
  const x = (lr) => left + ((width - left - 8) * (Math.log10(lr) - from)) / (to - from || 1);
  const y = (loss) =>
    8 +
    (height - bottom - 8) * (1 - (Math.min(Math.max(loss, floor), top) - floor) / (top - floor));
  const word = (content, at) => svg("text", at, content);
  const place = (value, name) => {
    if (value == null || value < lrs[0] || value > lrs.at(-1)) return [];
    const at = { x1: x(value), x2: x(value), y1: 8, y2: height - bottom };
    return [
      svg("line", { ...at, class: `lk-at-${name}` }),
      word(name === "try" ? "try" : "now", { x: x(value) + 3, y: name === "try" ? 16 : 28 }),
    ];
  };
  const dots = lrs
    .map((lr, i) =>
      losses[i] == null ? null : svg("circle", { cx: x(lr), cy: y(losses[i]), r: 1.3 }),
    )
    .filter(Boolean);
  const line = svg("polyline", {
    points: lrs
      .map((lr, i) =>
        smoothed[i] == null ? "" : `${x(lr).toFixed(1)},${y(smoothed[i]).toFixed(1)}`,
      )
      .join(" "),
  });
  const decades = [];
  for (let power = Math.ceil(from); power <= to + 0.01; power += to - from > 4 ? 2 : 1)
    decades.push(
      word(rate(10 ** power), {
        x: x(10 ** power),
        y: height - bottom + 13,
        "text-anchor": "middle",
      }),
    );
  const losses_ = [floor, top / 1.15].map((value) =>
    word(trim(Number(value.toPrecision(2))), {
      x: left - 4,
      y: y(value) + 4,
      "text-anchor": "end",
    }),
  );
  const names = [
    word("loss", { x: 0, y: 10 }),
    word("learning rate", { x: (left + width) / 2, y: height - 3, "text-anchor": "middle" }),
  ];
  const axes = svg("path", { d: `M${left} 8V${height - bottom}H${width - 8}`, class: "lk-axes" });
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `Loss against learning rate. ${text}`,
    },
    axes,
    ...dots,
    line,
    ...place(current, "now"),
    ...place(suggestion, "try"),
    ...decades,
    ...losses_,
    ...names,
  );
}
