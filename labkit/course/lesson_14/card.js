// The ward: patients, examinations, a sheet, a diagnosis, an answer. Native controls, so that keyboard and screen reader
// work as everywhere else. All text comes from Python and is set as text, never as markup. The browser asks and the kernel
// answers; while a patient is being trained there, this side asks for news a few times a second.
//
// Messages  examine {client, patient, name} | diagnose {client, patient, name} | poll {client, have}  ->  state
//           state {client, problem, job: null | {id, patient, kind, name, over, trouble, about, sheet, note}, book, score}
//
// Hooks (attribute data-labkit): clinic, patient-N, examine-NAME, about, news, sheet, question, disease-NAME, commit, note, score.

const POLL_MS = 300;
const LOST_MS = 4000; // a reply that took longer is lost, and is asked for again

function h(name, attributes = {}, ...children) {
  const el = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) el.setAttribute(key === "hook" ? "data-labkit" : key, value === true ? "" : value);
  }
  el.append(...children.filter((child) => child !== null));
  return el;
}

// Text in which what stands between backticks is code.
function said(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

// Jupyter, VS Code and Colab each say in their own way whether they are dark; elsewhere the system says so.
function themeOf() {
  const { body, documentElement: html } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false" ? "dark" : "light";
  if (body.className.includes("vscode-")) return /vscode-(dark|high-contrast(?!-light))/.test(body.className) ? "dark" : "light";
  if (html.getAttribute("theme")) return html.getAttribute("theme") === "dark" ? "dark" : "light";
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function tableOf(columns, rows) {
  const head = h("tr", {}, ...columns.map((text) => h("th", { scope: "col" }, text)));
  const body = rows.map((row) => h("tr", {}, ...row.map((text, i) => (i ? h("td", {}, text) : h("th", { scope: "row" }, text)))));
  return h("table", {}, h("thead", {}, head), h("tbody", {}, ...body));
}

// Each hint lies inside the one before it.
function ladder(hints, number = 1) {
  if (!hints.length) return null;
  const [first, ...rest] = hints;
  const summary = h("summary", {}, `Hint ${number} of ${number + rest.length}`);
  return h("details", {}, summary, h("div", { class: "lc-hint" }, h("p", {}, ...said(first)), ladder(rest, number + 1)));
}

class Card {
  constructor(model, el) {
    this.model = model;
    this.ward = model.get("ward");
    this.client = Math.random().toString(36).slice(2, 10);
    this.patient = null;
    this.examination = this.ward.examinations[0].name;
    this.have = -1; // the last job whose outcome is shown
    this.busy = false;
    this.build();
    el.append(this.root);
    this.receive = this.receive.bind(this);
    model.on("msg:custom", this.receive);
    this.ask({ kind: "poll" }); // finds what an earlier view of this card left
  }

  close() {
    clearTimeout(this.timer);
    this.model.off("msg:custom", this.receive);
    this.themes.disconnect();
    this.root.remove();
  }

  // ------------------------------------------------------------ what there is

  build() {
    const { ward } = this;
    this.patients = new Map(ward.patients.map((n) => [n, this.button(`patient-${n}`, String(n), () => this.see(n, this.examination))]));
    this.looks = new Map(ward.examinations.map((one) => [one.name, this.button(`examine-${one.name}`, one.title, () => this.see(this.patient, one.name))]));
    this.about = h("div", { class: "lc-about", hook: "about" });
    this.news = h("p", { class: "lc-news", role: "status", hook: "news" }, "Choose a patient.");
    this.sheet = h("div", { class: "lc-sheet", hook: "sheet" });
    const name = `labkit-clinic-${this.client}`;
    this.question = h("legend", { hook: "question" }, "What is wrong with this run?");
    const choice = (one) => h("label", { class: "lc-choice" }, h("input", { type: "radio", name, value: one.name, hook: `disease-${one.name}` }), h("span", {}, one.title, " ", h("code", {}, one.name)));
    this.choices = h("fieldset", {}, this.question, ...ward.diseases.map(choice));
    this.commit = this.button("commit", "Commit this diagnosis", () => this.diagnose());
    this.note = h("div", { class: "lc-note", role: "status", hook: "note", tabindex: -1 });
    this.score = h("p", { class: "lc-score", hook: "score" });
    this.consult = h("div", { hidden: true }, h("div", { class: "lc-row", role: "group", "aria-label": "Examinations" }, ...this.looks.values()), this.sheet, this.choices, this.commit, this.note);
    const row = h("div", { class: "lc-row", role: "group", "aria-label": "Patients" }, h("span", { "aria-hidden": "true" }, "Patient"), ...this.patients.values());
    this.root = h("section", { class: "labkit-clinic", hook: "clinic", "aria-label": "The clinic" }, row, this.about, this.news, this.consult, this.score);
    // JupyterLab's shortcuts would take the arrow keys that move between the answers.
    this.root.addEventListener("keydown", (event) => event.stopPropagation());
    this.themes = new MutationObserver(() => this.retheme());
    for (const el of [document.documentElement, document.body]) this.themes.observe(el, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class", "theme"] });
    this.retheme();
    this.mark([]);
  }

  button(hook, text, act) {
    const made = h("button", { type: "button", hook }, text);
    made.addEventListener("click", act);
    return made;
  }

  retheme() {
    this.root.dataset.theme = themeOf();
  }

  // ------------------------------------------------------------ what is asked for

  see(patient, name) {
    if (this.busy) return;
    if (patient !== this.patient) {
      this.about.replaceChildren();
      this.note.replaceChildren();
      for (const radio of this.choices.querySelectorAll("input")) radio.checked = false;
    }
    this.sheet.replaceChildren();
    this.wait(patient, name, `Looking at patient ${patient} …`);
    this.ask({ kind: "examine", patient, name });
  }

  diagnose() {
    if (this.busy) return;
    const picked = this.choices.querySelector("input:checked");
    if (!picked) {
      this.note.replaceChildren(h("p", {}, "Choose one of the eight first."));
      return;
    }
    this.wait(this.patient, this.examination, "Asking for reasons …");
    this.ask({ kind: "diagnose", patient: this.patient, name: picked.value });
  }

  wait(patient, name, words) {
    Object.assign(this, { patient, examination: name, busy: true });
    this.news.textContent = words;
    this.press();
  }

  ask(message) {
    clearTimeout(this.timer);
    this.model.send({ ...message, client: this.client, have: this.have });
    this.timer = setTimeout(() => this.ask({ kind: "poll" }), LOST_MS);
  }

  // ------------------------------------------------------------ what comes back

  receive(message) {
    if (!message || message.client !== this.client) return;
    clearTimeout(this.timer);
    const { job, problem } = message;
    this.mark(message.book);
    this.score.textContent = message.score;
    if (job) this.take(job);
    else this.busy = false;
    if (problem) this.news.textContent = problem;
    this.press();
    if (this.busy) this.timer = setTimeout(() => this.ask({ kind: "poll" }), POLL_MS);
  }

  take(job) {
    this.busy = !job.over;
    this.patient = job.patient;
    if (job.kind === "examine") this.examination = job.name;
    if (!job.over) return;
    this.have = job.id;
    this.news.textContent = job.trouble;
    if (job.about) this.about.replaceChildren(h("p", {}, h("strong", {}, job.about.headline), ` ${job.about.points.join(" ")}`));
    if (job.sheet) this.showSheet(job.sheet);
    if (job.note) this.showNote(job.note);
  }

  showSheet(sheet) {
    this.news.textContent = sheet.question;
    const table = sheet.columns.length ? tableOf(sheet.columns, sheet.rows) : null;
    const scrolls = table && h("div", { class: "lc-table", tabindex: 0, role: "region", "aria-label": `Patient ${this.patient}: ${sheet.question}` }, table);
    const picture = sheet.image ? h("img", { src: `data:image/png;base64,${sheet.image}`, alt: sheet.alt }) : null;
    const numbers = picture && scrolls ? h("details", {}, h("summary", {}, "The same as a table"), scrolls) : scrolls;
    this.sheet.replaceChildren(...[picture, sheet.remark ? h("p", {}, sheet.remark) : null, numbers].filter(Boolean));
  }

  showNote(note) {
    this.news.textContent = "";
    const mark = { right: "✓", "not yet": "○" }[note.tone] ?? "·";
    const points = h("ul", {}, ...note.points.map((point) => h("li", {}, ...said(point))));
    this.note.replaceChildren(...[h("p", {}, h("strong", {}, `${mark} ${note.headline}`)), points, ladder(note.hints)].filter(Boolean));
    this.note.dataset.tone = note.tone;
  }

  mark(book) {
    const right = new Map(book.map((one) => [one.patient, one.right]));
    for (const [n, button] of this.patients) {
      const seen = right.has(n);
      button.textContent = seen ? `${n} ${right.get(n) ? "✓" : "○"}` : String(n);
      button.setAttribute("aria-label", `Patient ${n}${seen ? (right.get(n) ? ", first word right" : ", first word wrong") : ""}`);
    }
  }

  press() {
    for (const [n, button] of this.patients) button.setAttribute("aria-pressed", n === this.patient);
    for (const [name, button] of this.looks) button.setAttribute("aria-pressed", name === this.examination);
    for (const button of [...this.patients.values(), ...this.looks.values(), this.commit]) button.setAttribute("aria-disabled", this.busy);
    this.consult.hidden = this.patient === null;
    if (this.patient !== null) this.question.textContent = `What is wrong with patient ${this.patient}?`;
  }
}

function render({ model, el }) {
  const card = new Card(model, el);
  return () => card.close();
}

export default { render };
