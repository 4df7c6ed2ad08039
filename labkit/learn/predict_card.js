// The predict panel: a native file chooser, which keyboard and screen reader know, and a place to
// drop a file on. The page sends the file as it is; the kernel decodes it, and answers with words
// and a picture. All text is set as text.
//
// Asked     look {client, n, name} + the bytes
// Answered  {client, n, problem, seen: null | {name, rows, image, alt, remarks}}
//
// Hooks (attribute data-labkit): predict, choose, drop, news, seen.

import { h, keepKeys, keepTheme, newClient } from "../console/js/ui.js";

const SILENT_MS = 30000; // no answer for so long: say so
const SILENT =
  "The kernel does not answer: it is busy, or it was restarted. " +
  "Choose the picture again later.";

class PredictCard {
  constructor(model, el) {
    this.model = model;
    this.task = model.get("task");
    this.client = newClient();
    this.n = 0; // the last file that was sent; answers to earlier ones are too late
    this.build();
    el.append(this.root);
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
  }

  close() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.receive);
    this.forgetTheme();
    this.root.remove();
  }

  build() {
    const { task } = this;
    this.input = h("input", { type: "file", accept: task.endings.join(","), hook: "choose" });
    // The same file may be chosen again.
    this.input.addEventListener("click", () => (this.input.value = ""));
    this.input.addEventListener("change", () => this.look(this.input.files[0]));
    const label = h("label", {}, h("span", {}, "Choose a picture, or drop one here"), this.input);
    this.place = h("div", { class: "lp-drop", hook: "drop" }, label);
    this.news = h("p", { class: "lp-news", role: "status", hook: "news" });
    this.seen = h("div", { class: "lp-seen", hook: "seen" });
    const about = h(
      "p",
      { class: "lp-about" },
      `${task.network}: ${task.classes.length} classes, pictures of ${task.size} pixels`,
    );
    this.root = h(
      "section",
      {
        class: "labkit-predict lk-theme lk-card",
        hook: "predict",
        "aria-label": "Predict a picture",
      },
      about,
      this.place,
      this.news,
      this.seen,
    );
    keepKeys(this.root);
    for (const kind of ["dragenter", "dragover"])
      this.place.addEventListener(kind, (event) => this.hover(event, true));
    for (const kind of ["dragleave", "drop"])
      this.place.addEventListener(kind, (event) => this.hover(event, false));
    this.place.addEventListener("drop", (event) => this.look(event.dataTransfer?.files[0]));
    this.forgetTheme = keepTheme(this.root);
  }

  hover(event, over) {
    event.preventDefault(); // the page would open the file instead
    event.stopPropagation();
    this.place.dataset.over = over;
  }

  async look(file) {
    if (!file) return;
    const n = ++this.n;
    this.seen.replaceChildren();
    if (file.size > this.task.most_bytes) {
      const [has, most] = [(file.size / 1e6).toFixed(0), this.task.most_bytes / 1e6];
      this.news.textContent = `${file.name} is too large: ${has} MB, and ${most} MB is the most.`;
      return;
    }
    this.news.textContent = `Looking at ${file.name} …`;
    let bytes;
    try {
      bytes = await file.arrayBuffer();
    } catch {
      this.news.textContent = `${file.name} cannot be read. Is it a folder?`;
      return;
    }
    if (n !== this.n) return;
    this.model.send({ kind: "look", client: this.client, n, name: file.name }, undefined, [bytes]);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.news.textContent = SILENT), SILENT_MS);
  }

  receive(message) {
    if (!message || message.client !== this.client || message.n !== this.n) return;
    clearTimeout(this.timer);
    const { problem, seen } = message;
    if (problem) {
      this.news.textContent = problem;
      return;
    }
    this.news.textContent = `${seen.name}: ${seen.rows[0][0]} at ${seen.rows[0][1]}`;
    const row = ([name, share, number]) => {
      const bar = h("div", { class: "lp-bar", "aria-hidden": "true" });
      bar.style.width = `${100 * number}%`;
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        h("td", {}, share),
        h("td", { class: "lp-track", "aria-hidden": "true" }, bar),
      );
    };
    const head = h(
      "tr",
      {},
      h("th", { scope: "col" }, "class"),
      h("th", { scope: "col" }, "probability"),
      h("td", { "aria-hidden": "true" }),
    );
    const table = h("table", {}, h("thead", {}, head), h("tbody", {}, ...seen.rows.map(row)));
    const image = seen.image
      ? h("img", { src: `data:image/png;base64,${seen.image}`, alt: seen.alt })
      : null;
    this.seen.replaceChildren(
      ...[image, table, ...seen.remarks.map((remark) => h("p", {}, remark))].filter(Boolean),
    );
  }
}

function render({ model, el }) {
  const card = new PredictCard(model, el);
  return () => card.close();
}

export default { render };
