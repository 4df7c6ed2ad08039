// What all scripts of the lab share: elements of a page, written only where they change, the page's
// theme, and the talk of a card with the kernel. A script that is no module gets this set before
// it.

const ASK_MS = 300; // between two questions of a card that waits for something
const UNHEARD_MS = 4000; // an answer to a card that took longer is lost, and is asked for again

// ---------------------------------------------------------------- elements

// An element with attributes, listeners (onclick: ...) and children; strings become text, never
// markup.
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(el, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "hook") el.dataset.labkit = value;
    else if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "hidden") el[name] = value;
    else if (value !== null && value !== false) el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.filter((child) => child !== null));
  return el;
}

// A table whose first column names its rows.
export function tableOf(columns, rows) {
  const head = h("tr", {}, ...columns.map((text) => h("th", { scope: "col" }, text)));
  const cell = (text, i) => (i ? h("td", {}, text) : h("th", { scope: "row" }, text));
  const body = rows.map((row) => h("tr", {}, ...row.map(cell)));
  return h("table", {}, h("thead", {}, head), h("tbody", {}, ...body));
}

// Text in which what stands between backticks is code.
export function said(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

export function setAttribute(el, name, value) {
  if (el.getAttribute(name) !== value) el.setAttribute(name, value);
}

// A property such as hidden, value or max: even the same value, written again, makes the page look
// at the element.
export function set(el, name, value) {
  if (el[name] !== value) el[name] = value;
}

let names = 0;
export const fresh = (stem) => `labkit-${stem}-${++names}`;

// ---------------------------------------------------------------- the page around it

// Jupyter, VS Code and Colab each say in their own way whether they are dark; elsewhere the system
// says so.
export function themeOf() {
  const { body, documentElement: html } = document;
  const { jpThemeLight } = body.dataset;
  if (jpThemeLight) return jpThemeLight === "false" ? "dark" : "light";
  if (body.className.includes("vscode-"))
    return /vscode-(dark|high-contrast(?!-light))/.test(body.className) ? "dark" : "light";
  if (html.getAttribute("theme")) return html.getAttribute("theme") === "dark" ? "dark" : "light";
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// Tell whenever the page's theme may be another; returns what ends that.
export function onTheme(tell) {
  const themes = new MutationObserver(tell);
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class", "theme"];
  for (const el of [document.documentElement, document.body])
    themes.observe(el, { attributes: true, attributeFilter });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", tell);
  return () => {
    themes.disconnect();
    scheme.removeEventListener("change", tell);
  };
}

// Give a card the page's theme, now and from now on; returns what ends that.
export function keepTheme(root) {
  const dress = () => (root.dataset.theme = themeOf());
  dress();
  return onTheme(dress);
}

// JupyterLab's shortcuts would take keys that move between controls or press one.
export function keepKeys(el) {
  el.addEventListener("keydown", (event) => event.stopPropagation());
}

// ---------------------------------------------------------------- the talk with the kernel

// What a view calls itself: each asks for itself and hears only its own answers.
export const newClient = () => Math.random().toString(36).slice(2, 10);

// A card asks and the kernel answers, never the other way round. `hear` takes an answer and says
// whether there is something to wait for; `more` gives what every question carries.
export class Talk {
  constructor(model, hear, more = () => ({})) {
    Object.assign(this, { model, hear, more, client: newClient() });
    this.receive = this.receive.bind(this);
  }

  open() {
    this.model.on("msg:custom", this.receive);
    this.ask({ kind: "poll" }); // finds what an earlier view of this card left
  }

  close() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.receive);
  }

  ask(message) {
    clearTimeout(this.timer);
    this.model.send({ ...message, client: this.client, ...this.more() });
    this.pollIn(UNHEARD_MS);
  }

  pollIn(delay) {
    this.timer = setTimeout(() => this.ask({ kind: "poll" }), delay);
  }

  receive(message) {
    if (!message || message.client !== this.client) return;
    clearTimeout(this.timer);
    if (this.hear(message)) this.pollIn(ASK_MS);
  }
}
