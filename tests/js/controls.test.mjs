import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { act, Held, offer, refusal, trains } from "../../labkit/console/js/controls.js";
import { element, settled, stopped } from "./fakes.mjs";

let time;
let asked; // the commands given: {args, done}
let link;
let held;
const story = { state: { active: "r0" } };
const values = () => asked.map(({ args }) => args.lr);
const done = async (i, outcome) => {
  asked[i].done(outcome);
  await settled();
};

beforeEach(() => {
  time = stopped();
  asked = [];
  link = { view: { changed() {} } };
  link.command = (command, args, refused) =>
    new Promise((resolve) => asked.push({ command, args, refused, done: resolve }));
  held = new Held(link, element(), element({ value: "" }), "lr");
  held.free(story);
  globalThis.document = { activeElement: null };
});

afterEach(() => {
  time.end();
  delete globalThis.document;
});

test("of the values of a drag at most one is in flight, and the newest follows it", async () => {
  for (const value of [1, 2, 3, 4]) held.send(value);
  assert.deepEqual(values(), [1]);
  await done(0, { ok: true });
  assert.deepEqual(values(), [1, 4]);
  await done(1, { ok: true });
  assert.deepEqual(values(), [1, 4]);
});

test("a drag that comes back to the value in flight sends nothing more", async () => {
  for (const value of [1, 2, 1]) held.send(value);
  await done(0, { ok: true });
  assert.deepEqual(values(), [1]);
});

test("the kernel's value is shown again when the hand rests and the command is done", async () => {
  held.send(1);
  time.pass(1000);
  assert.equal(held.free(story), false); // not answered yet
  await done(0, { ok: true });
  assert.equal(held.free(story), true);
  held.send(2);
  await done(1, { ok: true });
  assert.equal(held.free(story), false); // just moved
  time.pass(401);
  assert.equal(held.free(story), true);
});

test("a refused value stays with its reason, until another run is looked at", async () => {
  held.send(7);
  await done(0, { ok: false, error: "too large" });
  time.pass(1000);
  assert.equal(held.slot.textContent, "too large");
  assert.equal(held.control.getAttribute("aria-invalid"), "true");
  assert.equal(held.free(story), false);
  assert.equal(held.free({ state: { active: "r1" } }), true);
  assert.equal(held.slot.textContent, "");
  assert.equal(held.control.getAttribute("aria-invalid"), null);
});

test("while somebody types, nothing is written over it", () => {
  held.control.dataset.shown = "0.1";
  held.control.value = "0.15";
  document.activeElement = held.control;
  time.pass(1000);
  assert.equal(held.free(story), false);
  held.control.value = "0.1";
  assert.equal(held.free(story), true);
});

test("a command that the engine refuses later is told in the same place", async () => {
  const [slot, control] = [element(), element()];
  const given = act(link, slot, "set", { lr: 1 }, control);
  await done(0, { ok: true });
  await given;
  asked[0].refused("too late");
  assert.equal(slot.textContent, "too late");
  assert.equal(control.getAttribute("aria-invalid"), "true");
});

test("what a run refuses is offered with the reason: a button can be asked, a field cannot", () => {
  const run = { active: { meta: { refuses: { rewind: "it cannot go back" } } } };
  const why = refusal(run, "rewind");
  const [button, field] = [element({ tagName: "BUTTON" }), element({ tagName: "INPUT" })];
  for (const control of [button, field]) offer(control, why);
  assert.deepEqual([button.getAttribute("aria-disabled"), button.title], ["true", why]);
  assert.deepEqual([button.disabled, field.disabled], [undefined, true]);
  for (const control of [button, field]) offer(control, refusal(run, "branch"));
  assert.deepEqual([button.getAttribute("aria-disabled"), field.disabled], ["false", false]);
});

test("the frozen depth in words", () => {
  const stages = ["stem", "a", "b", "c", "head"].map((name, i) => [name, 10 ** i]);
  assert.equal(trains(stages, 0), "everything, 11 k of 11 k train");
  assert.equal(trains(stages, 1), "a to head, 11 k of 11 k train");
  assert.equal(trains(stages, 3), "c + head, 11 k of 11 k train");
  assert.equal(trains(stages, 4), "head, 10 k of 11 k train");
});

test("an error goes when the value in force is typed back, and nothing is sent", async () => {
  held.send("ten");
  await done(0, { ok: false, error: "no number" });
  assert.equal(held.slot.textContent, "no number");
  held.withdraw();
  assert.equal(held.slot.textContent, "");
  assert.equal(held.control.getAttribute("aria-invalid"), null);
  assert.deepEqual(values(), ["ten"]);
  time.pass(1000);
  assert.equal(held.free(story), true);
});
