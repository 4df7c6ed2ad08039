import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { GHOSTS, Story, Track, WINDOW } from "../../labkit/console/js/story.js";

let story;
const told = (...points) => points.forEach((point) => story.take(point));
const trained = (id, from, to) => {
  for (let step = from; step <= to; step++) told(["s", id, step, 1 / step, step % 2, 2]);
};

beforeEach(() => {
  story = new Story();
  told(["n", "r0", { name: "first" }]);
});

test("a story is rebuilt from points alone, and counts what it took", () => {
  trained("r0", 1, 3);
  told(["e", "r0", 3, 1, 0.5, 3, 6, 0.4, 4, 5, 1.5], ["c", "r0", 3, 7, "set", "lr 0.01", null]);
  const run = story.runs.get("r0");
  assert.deepEqual(run.steps, [1, 2, 3]);
  assert.deepEqual(run.valid("loss"), [[3, 0.4]]);
  assert.deepEqual(run.valid("accuracy"), [[3, 80]]);
  assert.deepEqual(run.marks, [{ step: 3, kind: "set", label: "lr 0.01" }]);
  assert.equal(story.edition, 6);
});

test("points of a run or a kind that is not known are no trouble", () => {
  told(["s", "r9", 1, 1, 1, 1], ["?", "r0", 1], ["r", "r9", 1], ["p", "r9", 1, "phase 2"]);
  assert.deepEqual([...story.runs.keys()], ["r0"]);
});

test("a command that was refused, or has no words, is not marked", () => {
  told(["c", "r0", 1, 1, "set", "lr 7", "too large"], ["c", "r0", 1, 2, "run", ""]);
  assert.deepEqual(story.runs.get("r0").marks, []);
});

test("the train curve is the mean of a window, by exact counts", () => {
  const run = story.runs.get("r0");
  const losses = Array.from({ length: 50 }, (_, i) => 1 + (i % 7) / 3);
  losses.forEach((loss, i) => run.step(i + 1, loss, 1, (i % 3) + 1));
  for (const at of [0, 10, WINDOW - 1, WINDOW, 49]) {
    const steps = losses.map((loss, i) => [loss, (i % 3) + 1]);
    const window = steps.slice(Math.max(0, at + 1 - WINDOW), at + 1);
    const count = window.reduce((sum, [, n]) => sum + n, 0);
    const mean = window.reduce((sum, [loss, n]) => sum + loss * n, 0) / count;
    assert.ok(Math.abs(run.at(at, "loss") - mean) < 1e-9);
    assert.ok(Math.abs(run.at(at, "accuracy") - (100 * window.length) / count) < 1e-9);
  }
});

test("a loss that was not finite is a gap, and spoils no mean after it", () => {
  const run = story.runs.get("r0");
  [2, null, 4].forEach((loss, i) => run.step(i + 1, loss, 0, 1));
  assert.deepEqual([run.at(0, "loss"), run.at(2, "loss")], [2, 3]);
  assert.ok(Number.isNaN(run.at(1, "loss")));
});

test("a curve has as many points as there are columns, with the first and the last step", () => {
  const run = story.runs.get("r0");
  for (let step = 1; step <= 1000; step++) run.step(step, 1, 1, 1);
  for (const columns of [1, 7, 60, 999, 1000, 5000]) {
    const curve = run.curve("loss", columns);
    assert.ok(curve.length <= columns + 1);
    assert.deepEqual([curve[0][0], curve.at(-1)[0]], [1, 1000]);
  }
  assert.deepEqual(
    run.curve("loss", 9, 998).map(([step]) => step),
    [998, 999, 1000],
  );
  assert.deepEqual(run.curve("loss", 9, 2000), []);
});

test("a rewind forgets what came after, and leaves a ghost of it", () => {
  trained("r0", 1, 8);
  told(["e", "r0", 4, 1, 1, 1, 2, 1, 1, 2, 1], ["e", "r0", 8, 2, 1, 1, 2, 1, 1, 2, 1]);
  told(
    ["c", "r0", 4, 1, "set", "lr 1"],
    ["p", "r0", 4, "phase 2"],
    ["c", "r0", 6, 2, "set", "lr 2"],
  );
  told(["r", "r0", 4]);
  const run = story.runs.get("r0");
  assert.deepEqual(run.steps, [1, 2, 3, 4]);
  assert.deepEqual(
    Object.values(run.sums).map((sums) => sums.length),
    [5, 5, 5, 5],
  );
  assert.deepEqual(
    run.epochs.map((epoch) => epoch.step),
    [4],
  );
  assert.deepEqual(
    run.marks.map((mark) => mark.label),
    ["phase 2"],
  );
  assert.deepEqual(
    run.ghosts[0].loss.map(([step]) => step),
    [4, 5, 6, 7, 8],
  );
  trained("r0", 5, 5);
  assert.equal(run.last, 5);
});

test("only the newest ghosts stay, and a rewind to now leaves none", () => {
  const run = new Track("r1", {}, 0);
  for (let again = 0; again < GHOSTS + 2; again++) {
    for (let step = 1; step <= 3; step++) run.step(step, again, 1, 1);
    run.rewound(0);
  }
  assert.equal(run.ghosts.length, GHOSTS);
  assert.ok(run.ghosts[0].loss.every(([, loss]) => loss === 2));
  run.step(1, 1, 1, 1);
  run.rewound(1);
  assert.equal(run.ghosts.length, GHOSTS);
  assert.deepEqual(run.steps, [1]);
});

test("a picture of a run has to be drawn anew only after more than a step", () => {
  const run = story.runs.get("r0");
  trained("r0", 1, 5);
  assert.equal(run.turns, 0);
  run.mark(5, "set", "lr 1");
  run.epoch(5, 1, [1, 1, 1, 1, 1, 1, 1]);
  run.rewound(2);
  assert.equal(run.turns, 3);
});
