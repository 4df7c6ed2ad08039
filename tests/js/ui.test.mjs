import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import {
  fresh,
  newClient,
  set,
  setAttribute,
  setText,
  Talk,
  themeOf,
} from "../../labkit/console/js/ui.js";
import { stopped } from "./fakes.mjs";

const page = ({ jp, words = "", theme = null, dark = false }) => {
  const body = { dataset: { ...(jp && { jpThemeLight: jp }) }, className: words };
  globalThis.document = { body, documentElement: { getAttribute: () => theme } };
  globalThis.matchMedia = () => ({ matches: dark });
};

afterEach(() => {
  delete globalThis.document;
  delete globalThis.matchMedia;
});

test("each host says in its own way whether it is dark; elsewhere the system does", () => {
  const cases = [
    [{ jp: "false" }, "dark"],
    [{ jp: "true", dark: true }, "light"],
    [{ words: "vscode-dark" }, "dark"],
    [{ words: "vscode-light", dark: true }, "light"],
    [{ words: "vscode-high-contrast" }, "dark"],
    [{ words: "vscode-high-contrast-light" }, "light"],
    [{ theme: "dark" }, "dark"],
    [{ theme: "light", dark: true }, "light"],
    [{ dark: true }, "dark"],
    [{}, "light"],
  ];
  for (const [host, theme] of cases) {
    page(host);
    assert.equal(themeOf(), theme, JSON.stringify(host));
  }
});

test("what is the same is not written again", () => {
  let writes = 0;
  const el = {
    getAttribute: () => "a",
    setAttribute: () => (writes += 1),
    get textContent() {
      return "a";
    },
    set textContent(_) {
      writes += 1;
    },
  };
  setText(el, "a");
  setAttribute(el, "name", "a");
  set(el, "textContent", "a");
  assert.equal(writes, 0);
  setText(el, "b");
  setAttribute(el, "name", "b");
  set(el, "textContent", "b");
  assert.equal(writes, 3);
});

test("no two names and no two clients are the same", () => {
  assert.notEqual(fresh("x"), fresh("x"));
  assert.notEqual(newClient(), newClient());
});

test("a card asks at once, again while there is something to wait for, and what is lost", () => {
  const time = stopped();
  const [sent, heard] = [[], []];
  const model = { on() {}, off() {}, send: (message) => sent.push(message) };
  let busy = true;
  const hear = (message) => (heard.push(message.kind), busy);
  const talk = new Talk(model, hear, () => ({ have: heard.length }));
  talk.open();
  assert.deepEqual(sent, [{ kind: "poll", client: talk.client, have: 0 }]);
  talk.receive({ client: "another", kind: "state" });
  talk.receive(undefined);
  talk.receive({ client: talk.client, kind: "state" });
  time.pass(300);
  assert.deepEqual(sent.at(-1), { kind: "poll", client: talk.client, have: 1 });
  time.pass(3999);
  assert.equal(sent.length, 2);
  time.pass(1);
  assert.equal(sent.length, 3);
  busy = false;
  talk.receive({ client: talk.client, kind: "state" });
  time.pass(60000);
  assert.equal(sent.length, 3);
  talk.ask({ kind: "run" });
  talk.close();
  time.pass(60000);
  assert.equal(sent.length, 4);
  assert.deepEqual(heard, ["state", "state"]);
  time.end();
});
