// The link to the kernel. The browser asks and the kernel answers: `Link` sends a poll twice a
// training step, every 100 to 300 ms (never two at once), and keeps `Story`.
//
// Asked     poll {client, n, since, probes, finder, look, known, hidden}
// Answered  delta {client, n, since, seq, more, points, state, known (when it changed),
//                  probes, finder, look (when new)}
// Asked     command {client, id, command, args}
// Answered  ack {client, id, ok, pending, ticket, value, error}
// Asked     images {client, keys}
// Answered  images {client, images: [[key, data address], ...]}
// Asked     figure {client}
// Answered  figure {client, version, address}: what the look shows
// Points    see POINTS in story.js; the kernel writes them in session.py.

import { newClient } from "./ui.js";
import { Story } from "./story.js";

const POLL_MS = 100; // between two questions, at least
const SLOW_POLL_MS = 300; // and at most, while somebody looks: few steps have little to tell
const REST_POLL_MS = 250; // while nothing trains
const HIDDEN_POLL_MS = 1000; // a view out of sight draws nothing: it only keeps up
const LOST_MS = 2000; // a reply that took longer is lost, and is asked for again
const PATIENCE_MS = 15000; // a kernel that stays silent is asked less and less often, down to this

export class Link {
  constructor(model, view) {
    this.model = model;
    this.view = view;
    // Every view asks for itself and hears only its answers.
    this.client = newClient();
    this.story = new Story();
    this.waiting = new Map(); // commands without an answer: id -> {message, sent, resolve, settle}
    // Accepted commands not yet in force: "run:ticket" -> what to do if the engine refuses.
    this.late = new Map();
    this.since = 0;
    this.probes = this.finder = this.look = 0;
    this.known = ""; // the state's stamp: a state that is known is not sent again
    this.count = 0;
    this.asked = null; // the poll in flight: {n, sent}
    this.silent = 0; // polls lost in a row
    this.due = 0;
    this.receive = this.receive.bind(this);
  }

  open() {
    this.model.on("msg:custom", this.receive);
    this.plan(0);
  }

  close() {
    this.closed = true;
    this.model.off("msg:custom", this.receive);
    clearTimeout(this.timer);
  }

  // Ask now, not when the next question is due.
  wake() {
    this.plan(0);
  }

  send(message) {
    this.model.send({ ...message, client: this.client });
  }

  plan(delay) {
    clearTimeout(this.timer);
    if (!this.closed) this.timer = setTimeout(() => this.tick(), delay);
  }

  tick() {
    const now = performance.now();
    const patience = Math.min(LOST_MS * 2 ** this.silent, PATIENCE_MS);
    if (this.asked && now - this.asked.sent < patience)
      return this.plan(patience - (now - this.asked.sent));
    if (this.asked) this.lost();
    this.asked = { n: ++this.count, sent: now };
    const period = this.period();
    this.due = Math.max(this.due, now - period) + period; // on schedule, so that 10 Hz is 10 Hz
    const { since, probes, finder, look, known } = this;
    this.send({
      kind: "poll",
      n: this.count,
      since,
      probes,
      finder,
      look,
      known,
      hidden: !this.view.inSight(),
    });
    this.resend(now);
    this.plan(patience);
  }

  // Twice a step, within bounds: every question costs the machine that trains, whether it brings
  // news or not.
  period() {
    if (!this.view.inSight()) return HIDDEN_POLL_MS;
    if (!this.story.trains()) return REST_POLL_MS;
    const step = 1000 / (this.story.state.rate || Infinity);
    return Math.min(Math.max(step / 2, POLL_MS), SLOW_POLL_MS);
  }

  lost() {
    this.silent += 1;
    this.story.connected = this.silent < 2;
    this.view.changed();
  }

  resend(now) {
    for (const entry of this.waiting.values()) {
      if (entry.pending || now - entry.sent < LOST_MS) continue;
      entry.sent = now; // the kernel knows a command by its id and never does it twice
      this.send(entry.message);
    }
  }

  receive(message) {
    if (!message || message.client !== this.client) return;
    if (message.kind === "delta") this.delta(message);
    else if (message.kind === "ack") this.ack(message);
    else if (message.kind === "images") this.images(message);
    else if (message.kind === "figure") this.figure(message);
    else if (message.kind === "error") console.warn(`labkit: ${message.error}`);
  }

  delta(message) {
    if (message.n === this.asked?.n) this.asked = null; // else it comes late, and is as welcome
    const news = this.learn(message);
    this.news = this.news || news;
    if (this.news && !message.more) {
      this.news = false;
      this.view.changed();
    }
    this.plan(message.more ? 0 : Math.max(0, this.due - performance.now()));
  }

  // Takes an answer in; whether it brought anything that was not known.
  learn(message) {
    let news = !this.story.connected;
    this.silent = 0;
    this.story.connected = true;
    if (message.since === this.since) {
      for (const point of message.points) this.take(point);
      this.since = message.seq;
      news = news || message.points.length > 0;
    }
    if (message.state) {
      this.story.state = message.state;
      this.known = message.known ?? "";
      news = true;
    }
    if (message.probes) {
      this.story.probes = message.probes;
      this.probes = message.probes.version;
      this.askForImages();
      news = true;
    }
    if (message.finder) {
      this.story.finder = message.finder;
      this.finder = message.finder.version;
      news = true;
    }
    if (message.look) {
      this.sketch = message.look; // shown once its figure is here, too
      this.look = message.look.version;
      this.send({ kind: "figure" });
    }
    return news;
  }

  images(message) {
    for (const [key, address] of message.images) this.story.pictures.set(key, address);
    this.askForImages();
    this.view.changed();
  }

  figure(message) {
    if (message.version !== this.sketch?.version) return; // a newer one is on its way
    this.story.look = { ...this.sketch, address: message.address };
    this.view.changed();
  }

  // Pictures are sent once, a few at a time; asking goes on until none is missing.
  askForImages() {
    const missing = (this.story.probes.strip || [])
      .map((item) => item.key)
      .filter((key) => !this.story.pictures.has(key));
    if (missing.length) this.send({ kind: "images", keys: missing });
  }

  take(point) {
    if (point[0] === "o")
      return this.settle(point[1], { ok: !point[2], error: point[2], value: point[3] });
    this.story.take(point);
    if (point[0] !== "c") return;
    const refused = this.late.get(`${point[1]}:${point[3]}`);
    this.late.delete(`${point[1]}:${point[3]}`);
    if (refused && point[6]) refused(point[6]);
  }

  // A promise of {ok, error, value}. Slow work is acknowledged at once and settled later, by a
  // point of the journal.
  command(command, args = {}, refused = null) {
    const id = `${this.client}-${++this.count}`;
    const message = { kind: "command", id, command, args };
    return new Promise((resolve) => {
      this.waiting.set(id, {
        message,
        sent: performance.now(),
        begun: performance.now(),
        resolve,
        refused,
      });
      this.send(message);
    });
  }

  ack(message) {
    const entry = this.waiting.get(message.id);
    if (!entry || entry.pending) return;
    const took = performance.now() - entry.begun;
    this.view.acknowledged(took);
    if (message.pending) entry.pending = true;
    else this.settle(message.id, message);
    if (message.ticket != null && entry.refused) this.late.set(message.ticket, entry.refused);
    this.plan(0); // what it changed should be seen at once
  }

  settle(id, outcome) {
    const entry = this.waiting.get(id);
    if (!entry) return;
    this.waiting.delete(id);
    entry.resolve(outcome);
  }
}
