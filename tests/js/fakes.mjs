// What stands in for a page and for time in the tests of pure functions.

import { mock } from "node:test";

// A control or a place for words, as far as the scripts look at one.
export function element(properties = {}) {
  const attributes = new Map();
  return {
    dataset: {},
    textContent: "",
    addEventListener() {},
    getAttribute: (name) => attributes.get(name) ?? null,
    setAttribute: (name, value) => attributes.set(name, String(value)),
    removeAttribute: (name) => attributes.delete(name),
    ...properties,
  };
}

// Time that stands still until a test lets it pass; `end` gives the real one back.
export function stopped() {
  let now = 0;
  let due = [];
  const kept = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  globalThis.setTimeout = (act, delay) => {
    const timer = { act, at: now + delay };
    due.push(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => {
    due = due.filter((each) => each !== timer);
  };
  const watch = mock.method(performance, "now", () => now);
  return {
    pass(milliseconds) {
      const until = now + milliseconds;
      for (;;) {
        const next = due.filter((each) => each.at <= until).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        due = due.filter((each) => each !== next);
        now = Math.max(now, next.at);
        next.act();
      }
      now = until;
    },
    end() {
      Object.assign(globalThis, kept);
      watch.mock.restore();
    },
  };
}

// Lets what waits for an answer go on.
export const settled = () => new Promise((resolve) => setImmediate(resolve));
