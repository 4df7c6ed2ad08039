// The predict panel: a native file chooser, which keyboard and screen reader know, and a place to drop a file on. The page
// sends the file as it is; the kernel decodes it, and answers with words and a picture. All text is set as text.
//
// Messages  look {client, n, name} + the bytes  ->  {client, n, problem, seen: null | {name, rows, image, alt, remarks}}
//
// Hooks (attribute data-labkit): predict, choose, drop, news, seen.

const LOST_MS = 30000; // no answer for so long: say so

function h(name, attributes = {}, ...children) {
  const el = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) el.setAttribute(key === "hook" ? "data-labkit" : key, value === true ? "" : value);
  }
  el.append(...children.filter((child) => child !== null));
  return el;
}

// Jupyter, VS Code and Colab each say in their own way whether they are dark; elsewhere the system says so.
function themeOf() {
  const { body, documentElement: html } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false" ? "dark" : "light";
  if (body.className.includes("vscode-")) return /vscode-(dark|high-contrast(?!-light))/.test(body.className) ? "dark" : "light";
  if (html.getAttribute("theme")) return html.getAttribute("theme") === "dark" ? "dark" : "light";
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

class Card {
  constructor(model, el) {
    this.model = model;
    this.task = model.get("task");
    this.client = Math.random().toString(36).slice(2, 10);
    this.n = 0; // the last file that was sent; answers to earlier ones are too late
    this.build();
    el.append(this.root);
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
  }

  close() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.receive);
    this.themes.disconnect();
    this.root.remove();
  }

  build() {
    const { task } = this;
    this.input = h("input", { type: "file", accept: task.endings.join(","), hook: "choose" });
    this.input.addEventListener("click", () => (this.input.value = "")); // the same file may be chosen again
    this.input.addEventListener("change", () => this.look(this.input.files[0]));
    const label = h("label", {}, h("span", {}, "Choose a picture, or drop one here"), this.input);
    this.place = h("div", { class: "lp-drop", hook: "drop" }, label);
    this.news = h("p", { class: "lp-news", role: "status", hook: "news" });
    this.seen = h("div", { class: "lp-seen", hook: "seen" });
    const about = h("p", { class: "lp-about" }, `${task.network}: ${task.classes.length} classes, pictures of ${task.size} pixels`);
    this.root = h("section", { class: "labkit-predict", hook: "predict", "aria-label": "Predict a picture" }, about, this.place, this.news, this.seen);
    this.root.addEventListener("keydown", (event) => event.stopPropagation()); // JupyterLab's shortcuts stay out
    for (const kind of ["dragenter", "dragover"]) this.place.addEventListener(kind, (event) => this.hover(event, true));
    for (const kind of ["dragleave", "drop"]) this.place.addEventListener(kind, (event) => this.hover(event, false));
    this.place.addEventListener("drop", (event) => this.look(event.dataTransfer?.files[0]));
    this.themes = new MutationObserver(() => this.retheme());
    for (const el of [document.documentElement, document.body]) this.themes.observe(el, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class", "theme"] });
    this.retheme();
  }

  retheme() {
    this.root.dataset.theme = themeOf();
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
      this.news.textContent = `${file.name} is too large: ${(file.size / 1e6).toFixed(0)} MB, and ${this.task.most_bytes / 1e6} MB is the most.`;
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
    this.timer = setTimeout(() => (this.news.textContent = "The kernel does not answer: it is busy, or it was restarted. Choose the picture again later."), LOST_MS);
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
      return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, share), h("td", { class: "lp-track", "aria-hidden": "true" }, bar));
    };
    const head = h("tr", {}, h("th", { scope: "col" }, "class"), h("th", { scope: "col" }, "probability"), h("td", { "aria-hidden": "true" }));
    const table = h("table", {}, h("thead", {}, head), h("tbody", {}, ...seen.rows.map(row)));
    const image = seen.image ? h("img", { src: `data:image/png;base64,${seen.image}`, alt: seen.alt }) : null;
    this.seen.replaceChildren(...[image, table, ...seen.remarks.map((remark) => h("p", {}, remark))].filter(Boolean));
  }
}

function render({ model, el }) {
  const card = new Card(model, el);
  return () => card.close();
}

export default { render };
