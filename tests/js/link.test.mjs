import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Link } from "../../labkit/console/js/link.js";
import { settled, stopped } from "./fakes.mjs";

let time;
let sent;
let view;
let link;
const polls = () => sent.filter((message) => message.kind === "poll");
const say = (message) => link.receive({ client: link.client, ...message });
const answer = (more = {}) => {
  const { n, since } = polls().at(-1);
  say({ kind: "delta", n, since, seq: since, more: false, points: [], ...more });
};
const state = (status, rate) => ({ active: "r0", runs: [{ id: "r0", status }], rate });

beforeEach(() => {
  time = stopped();
  sent = [];
  view = { drawn: 0, took: [], seen: true };
  view.changed = () => (view.drawn += 1);
  view.acknowledged = (milliseconds) => view.took.push(milliseconds);
  view.inSight = () => view.seen;
  link = new Link({ on() {}, off() {}, send: (message) => sent.push(message) }, view);
  link.open();
  time.pass(0);
});

afterEach(() => {
  link.close();
  time.end();
});

test("there is never more than one question in flight", () => {
  for (let again = 0; again < 19; again++) {
    link.wake(); // as a view does that comes into sight
    time.pass(100);
  }
  assert.equal(polls().length, 1);
  answer();
  time.pass(300);
  assert.equal(polls().length, 2);
});

test("it asks twice a step, within bounds, and seldom where nobody looks or nothing trains", () => {
  const period = (status, rate, seen = true) => {
    view.seen = seen;
    link.story.state = state(status, rate);
    return link.period();
  };
  assert.equal(period("running", 1), 300);
  assert.equal(period("running", 2.5), 200);
  assert.equal(period("running", 100), 100);
  assert.equal(period("running", null), 100);
  assert.equal(period("paused", 100), 250);
  assert.equal(period("running", 100, false), 1000);
});

test("a lost question is asked again, each time later, and then the page says so", () => {
  time.pass(2000);
  assert.equal(polls().length, 2);
  assert.equal(link.story.connected, true);
  time.pass(3999);
  assert.equal(polls().length, 2);
  time.pass(1);
  assert.equal(polls().length, 3);
  assert.equal(link.story.connected, false);
  time.pass(60000);
  assert.ok(polls().length <= 3 + 60 / 8);
  answer();
  assert.equal(link.story.connected, true);
});

test("an answer to another view, or without news, draws nothing", () => {
  const news = { kind: "delta", since: 0, seq: 1, points: [["n", "r0", {}]] };
  link.receive({ ...news, client: "another" });
  link.receive(null);
  assert.equal(link.story.edition, 0);
  const before = view.drawn;
  answer();
  assert.equal(view.drawn, before);
});

test("points are taken once: what was asked from another place is left", () => {
  const point = ["n", "r0", {}];
  answer({ points: [point], seq: 1 });
  assert.equal(link.since, 1);
  say({ kind: "delta", n: 99, since: 0, seq: 1, more: false, points: [point] });
  assert.equal(link.story.edition, 1);
  time.pass(300);
  assert.equal(polls().at(-1).since, 1);
});

test("where there is more, it asks on at once and draws with the last part", () => {
  answer({ points: [["n", "r0", {}]], seq: 1, more: true });
  assert.equal(view.drawn, 0);
  time.pass(0);
  assert.equal(polls().length, 2);
  answer();
  assert.equal(view.drawn, 1);
});

test("a command is settled by its acknowledgement, and what it did asked for at once", async () => {
  const given = link.command("set", { lr: 0.1 });
  const { id } = sent.at(-1);
  time.pass(40);
  answer();
  say({ kind: "ack", id, ok: true });
  assert.deepEqual(view.took, [40]);
  assert.equal((await given).ok, true);
  const before = polls().length;
  time.pass(0);
  assert.equal(polls().length, before + 1);
});

test("slow work is acknowledged, and settled by a point later", async () => {
  const outcomes = [];
  link.command("branch").then((outcome) => outcomes.push(outcome));
  const { id } = sent.at(-1);
  say({ kind: "ack", id, ok: true, pending: true });
  await settled();
  assert.deepEqual(outcomes, []);
  answer({ points: [["o", id, "there is no such step", null]], seq: 1 });
  await settled();
  assert.deepEqual(outcomes, [{ ok: false, error: "there is no such step", value: null }]);
  assert.equal(link.story.edition, 0); // no point of the story
});

test("a command without an answer is sent again as it was; an acknowledged one is not", () => {
  link.command("step");
  link.command("branch");
  const [step, branch] = sent.slice(-2);
  say({ kind: "ack", id: branch.id, ok: true, pending: true });
  for (let second = 0; second < 3; second++) {
    time.pass(1000);
    answer();
  }
  const count = (message) => sent.filter((each) => each.id === message.id).length;
  assert.ok(count(step) > 1);
  assert.equal(count(branch), 1);
  assert.deepEqual(
    sent.findLast((each) => each.id === step.id),
    step,
  );
});

test("an acknowledgement that comes twice counts once", async () => {
  const given = link.command("step");
  const { id } = sent.at(-1);
  say({ kind: "ack", id, ok: true });
  say({ kind: "ack", id, ok: false, error: "twice" });
  assert.equal((await given).ok, true);
  assert.equal(view.took.length, 1);
});

test("what the engine refuses after it was accepted is told where it was asked", () => {
  const refused = [];
  link.command("set", { lr: 7 }, (text) => refused.push(text));
  say({ kind: "ack", id: sent.at(-1).id, ok: true, ticket: "r0:5" });
  const points = [
    ["c", "r0", 3, 4, "set", "", "another"],
    ["c", "r0", 3, 5, "set", "", "too large"],
  ];
  answer({ points, seq: 2 });
  assert.deepEqual(refused, ["too large"]);
  assert.equal(link.late.size, 0);
});

test("pictures are asked for until none is missing, and each once", () => {
  const asked = () => sent.filter((message) => message.kind === "images").map(({ keys }) => keys);
  answer({ probes: { version: 1, strip: [{ key: "v:1" }, { key: "v:2" }] } });
  say({ kind: "images", images: [["v:1", "data:1"]] });
  say({ kind: "images", images: [["v:2", "data:2"]] });
  assert.deepEqual(asked(), [["v:1", "v:2"], ["v:2"]]);
});

test("a figure is shown when it has come, and only the newest", () => {
  answer({ look: { version: 2, name: "cam" } });
  say({ kind: "figure", version: 1, address: "old" });
  assert.equal(link.story.look, null);
  say({ kind: "figure", version: 2, address: "new" });
  assert.deepEqual(link.story.look, { version: 2, name: "cam", address: "new" });
});

test("a closed link asks nothing more", () => {
  answer();
  link.close();
  time.pass(60000);
  assert.equal(polls().length, 1);
});
