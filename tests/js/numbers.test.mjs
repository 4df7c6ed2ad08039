import assert from "node:assert/strict";
import { test } from "node:test";

import {
  amount,
  moved,
  nice,
  number,
  percent,
  rate,
  show,
  ticks,
  trim,
} from "../../labkit/console/js/numbers.js";

test("a rate is short, and a small one has an exponent", () => {
  assert.deepEqual([0, 1, 0.1, 0.0123456, 1e-4, 9.9e-5, 1e-10].map(rate), [
    "0",
    "1",
    "0.1",
    "0.0123",
    "0.0001",
    "9.9e-5",
    "1e-10",
  ]);
  assert.equal(rate(NaN), "");
});

test("an amount has its unit", () => {
  assert.deepEqual([0, 999, 1000, 9940, 10000, 999999, 1e6, 11.2e6].map(amount), [
    "0",
    "999",
    "1.0 k",
    "9.9 k",
    "10 k",
    "1000 k",
    "1.0 M",
    "11.2 M",
  ]);
});

test("a share of nothing is no number, and what is not finite says so", () => {
  assert.equal(percent(1, 4), 25);
  assert.ok(Number.isNaN(percent(0, 0)));
  assert.deepEqual(
    [show(1.005, 1), show(NaN), show(Infinity)],
    ["1.0", "not finite", "not finite"],
  );
});

test("what was typed is a number, or goes to the kernel as it is", () => {
  assert.deepEqual([" 1e-3 ", "7", "", "  ", "0,1", "ten", "Infinity"].map(number), [
    0.001,
    7,
    "",
    "",
    "0,1",
    "ten",
    "Infinity",
  ]);
});

test("a nice end of an axis is never under what it has to hold, and at most a third above", () => {
  for (let value = 0.0011; value < 5000; value *= 1.07) {
    const end = nice(value);
    assert.ok(end >= 0.999 * value && end < 1.35 * value, `${value} ends at ${end}`);
  }
  assert.deepEqual([nice(100), nice(101), nice(0.3)].map(trim), ["100", "120", "0.3"]);
});

test("ticks begin at nothing, are even, and end within the axis", () => {
  for (const [top, count] of [
    [100, 4],
    [2.5, 4],
    [1200, 3],
    [0.6, 4],
    [10, 12],
  ]) {
    const places = ticks(top, count);
    assert.equal(places[0], 0);
    assert.ok(places.at(-1) <= top * 1.000001 && places.length <= count + 1);
    assert.ok(places.length > 1);
    const gaps = places.slice(1).map((place, i) => Number((place - places[i]).toPrecision(9)));
    assert.equal(new Set(gaps).size, 1);
  }
  assert.deepEqual(ticks(100, 4), [0, 25, 50, 75, 100]);
});

test("a stage that has moved far is told in its own lengths", () => {
  assert.deepEqual([0, 0.004, 1.5, 2, 9.94, 61.1].map(moved), [
    "0.00 %",
    "0.40 %",
    "150.00 %",
    "2.0 × its length",
    "9.9 × its length",
    "61 × its length",
  ]);
});
