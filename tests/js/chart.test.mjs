import assert from "node:assert/strict";
import { test } from "node:test";

import { apart, axisEnd, ceiling, scale, spaced } from "../../labkit/console/js/chart.js";
import { Track } from "../../labkit/console/js/story.js";

const size = { width: 600, height: 300 };

test("a step and its place on the canvas lead to each other", () => {
  const { x, step } = scale(size, 200, 2, () => 200);
  for (const made of [0, 1, 57, 200]) assert.ok(Math.abs(step(x(made)) - made) < 1e-9);
  assert.ok(x(0) > 0 && x(200) < size.width);
});

test("nobody points before the first step or after the last one made", () => {
  let last = 30;
  const { x, step } = scale(size, 200, 2, () => last);
  assert.equal(step(0), 0);
  assert.equal(step(x(100)), 30);
  last = 40; // the run goes on under the same axes
  assert.equal(step(x(100)), 40);
});

test("values lie between the axes, and what is above them just over the edge", () => {
  const { y } = scale(size, 200, 2, () => 0);
  assert.ok(y(0) > y(1) && y(1) > y(2));
  assert.ok(Math.abs(y(1) - (y(0) + y(2)) / 2) < 1e-9);
  assert.equal(y(1e9), y(2.04));
  assert.ok(y(1e9) > 0);
});

test("the axis of steps ends with the plan once the run has come far, never before the run", () => {
  assert.equal(axisEnd(10, 1000), 15);
  assert.equal(axisEnd(599, 1000), 800);
  assert.equal(axisEnd(600, 1000), 1000);
  assert.equal(axisEnd(1200, 1000), 1200);
  for (let reached = 10; reached < 1500; reached += 7) assert.ok(axisEnd(reached, 1000) >= reached);
});

test("a run that diverges does not flatten the others", () => {
  const track = (...losses) => {
    const made = new Track("r0", {}, 0);
    losses.forEach((loss, i) => made.epoch(i, i, [loss, 1, 2, loss, 1, 2, 1]));
    return made;
  };
  assert.equal(ceiling([]), 1);
  assert.equal(ceiling([track(2, 1)]), 2.5);
  assert.equal(ceiling([track(2, 1), track(2, 1e12)]), 10);
  assert.equal(ceiling([track(2, NaN)]), 2.5);
});

test("names at the ends of curves are pushed apart, and stay above the axis", () => {
  const label = (y, x = 0) => ({ y, x, width: 40 });
  const labels = [label(10), label(12), label(12, 100), label(95), label(99)];
  apart(labels, 14, 100);
  assert.deepEqual(
    labels.map(({ y }) => y),
    [10, 24, 12, 86, 100],
  );
});

test("of commands close together the last of a kind is marked", () => {
  const marks = [
    [1, "lr 1"],
    [2, "lr 2"],
    [3, "depth a"],
    [4, "lr 3"],
    [40, "lr 4"],
  ];
  const kept = spaced(
    marks.map(([step, label]) => ({ step, label })),
    5,
  );
  assert.deepEqual(
    kept.map(({ label }) => label),
    ["lr 2", "depth a", "lr 3", "lr 4"],
  );
});
