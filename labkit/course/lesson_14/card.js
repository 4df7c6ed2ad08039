// The ward: patients, examinations, a sheet, a diagnosis, an answer. Native controls, so that
// keyboard and screen reader work as everywhere else. All text comes from Python and is set as
// text, never as markup. The browser asks and the kernel answers; while a patient is being trained
// there, this side asks for news a few times a second.
//
// Asked     examine {client, have, patient, name} | diagnose {the same} | poll {client, have}
// Answered  state {client, problem, book, score,
//                  job: null | {id, patient, kind, name, over, trouble, about, sheet, note}}
//
// Hooks (attribute data-labkit): clinic, patient-N, examine-NAME, about, news, sheet, question,
// disease-NAME, commit, note, score.

import { h, keepKeys, keepTheme, said, tableOf, Talk } from "../../console/js/ui.js";

// Each hint lies inside the one before it.
function ladder(hints, number = 1) {
  if (!hints.length) return null;
  const [first, ...rest] = hints;
  const summary = h("summary", {}, `Hint ${number} of ${number + rest.length}`);
  return h(
    "details",
    {},
    summary,
    h("div", { class: "lc-hint" }, h("p", {}, ...said(first)), ladder(rest, number + 1)),
  );
}

class ClinicCard {
  constructor(model, el) {
    this.ward = model.get("ward");
    const have = () => ({ have: this.have });
    this.talk = new Talk(model, (message) => this.receive(message), have);
    this.patient = null;
    this.examination = this.ward.examinations[0].name;
    this.have = -1; // the last job whose outcome is shown
    this.busy = false;
    this.build();
    el.append(this.root);
    this.talk.open();
  }

  close() {
    this.talk.close();
    this.forgetTheme();
    this.root.remove();
  }

  // ------------------------------------------------------------ what there is

  build() {
    const { ward } = this;
    this.patients = new Map(
      ward.patients.map((n) => [
        n,
        this.button(`patient-${n}`, String(n), () => this.see(n, this.examination)),
      ]),
    );
    this.looks = new Map(
      ward.examinations.map((one) => [
        one.name,
        this.button(`examine-${one.name}`, one.title, () => this.see(this.patient, one.name)),
      ]),
    );
    this.about = h("div", { class: "lc-about", hook: "about" });
    this.news = h("p", { class: "lc-news", role: "status", hook: "news" }, "Choose a patient.");
    this.sheet = h("div", { class: "lc-sheet", hook: "sheet" });
    const name = `labkit-clinic-${this.talk.client}`;
    this.question = h("legend", { hook: "question" }, "What is wrong with this run?");
    const choice = (one) =>
      h(
        "label",
        { class: "lc-choice" },
        h("input", { type: "radio", name, value: one.name, hook: `disease-${one.name}` }),
        h("span", {}, one.title, " ", h("code", {}, one.name)),
      );
    this.choices = h("fieldset", {}, this.question, ...ward.diseases.map(choice));
    this.commit = this.button("commit", "Commit this diagnosis", () => this.diagnose());
    this.note = h("div", { class: "lc-note", role: "status", hook: "note", tabindex: -1 });
    this.score = h("p", { class: "lc-score", hook: "score" });
    this.consult = h(
      "div",
      { hidden: true },
      h(
        "div",
        { class: "lc-row", role: "group", "aria-label": "Examinations" },
        ...this.looks.values(),
      ),
      this.sheet,
      this.choices,
      this.commit,
      this.note,
    );
    const row = h(
      "div",
      { class: "lc-row", role: "group", "aria-label": "Patients" },
      h("span", { "aria-hidden": "true" }, "Patient"),
      ...this.patients.values(),
    );
    this.root = h(
      "section",
      { class: "labkit-clinic lk-theme lk-card", hook: "clinic", "aria-label": "The clinic" },
      row,
      this.about,
      this.news,
      this.consult,
      this.score,
    );
    keepKeys(this.root);
    this.forgetTheme = keepTheme(this.root);
    this.mark([]);
  }

  button(hook, text, act) {
    return h("button", { type: "button", hook, onclick: act }, text);
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
    this.talk.ask({ kind: "examine", patient, name });
  }

  diagnose() {
    if (this.busy) return;
    const picked = this.choices.querySelector("input:checked");
    if (!picked) {
      this.note.replaceChildren(h("p", {}, "Choose one of the eight first."));
      return;
    }
    this.wait(this.patient, this.examination, "Asking for reasons …");
    this.talk.ask({ kind: "diagnose", patient: this.patient, name: picked.value });
  }

  wait(patient, name, words) {
    Object.assign(this, { patient, examination: name, busy: true });
    this.news.textContent = words;
    this.press();
  }

  // ------------------------------------------------------------ what comes back

  // Takes an answer in; whether there is more to wait for.
  receive(message) {
    const { job, problem } = message;
    this.mark(message.book);
    this.score.textContent = message.score;
    if (job) this.take(job);
    else this.busy = false;
    if (problem) this.news.textContent = problem;
    this.press();
    return this.busy;
  }

  take(job) {
    this.busy = !job.over;
    this.patient = job.patient;
    if (job.kind === "examine") this.examination = job.name;
    if (!job.over) return;
    this.have = job.id;
    this.news.textContent = job.trouble;
    if (job.about)
      this.about.replaceChildren(
        h("p", {}, h("strong", {}, job.about.headline), ` ${job.about.points.join(" ")}`),
      );
    if (job.sheet) this.showSheet(job.sheet);
    if (job.note) this.showNote(job.note);
  }

  showSheet(sheet) {
    this.news.textContent = sheet.question;
    const table = sheet.columns.length ? tableOf(sheet.columns, sheet.rows) : null;
    const scrolls =
      table &&
      h(
        "div",
        {
          class: "lc-table",
          tabindex: 0,
          role: "region",
          "aria-label": `Patient ${this.patient}: ${sheet.question}`,
        },
        table,
      );
    const picture = sheet.image
      ? h("img", { src: `data:image/png;base64,${sheet.image}`, alt: sheet.alt })
      : null;
    const numbers =
      picture && scrolls
        ? h("details", {}, h("summary", {}, "The same as a table"), scrolls)
        : scrolls;
    this.sheet.replaceChildren(
      ...[picture, sheet.remark ? h("p", {}, sheet.remark) : null, numbers].filter(Boolean),
    );
  }

  showNote(note) {
    this.news.textContent = "";
    const mark = { right: "✓", "not yet": "○" }[note.tone] ?? "·";
    const points = h("ul", {}, ...note.points.map((point) => h("li", {}, ...said(point))));
    this.note.replaceChildren(
      ...[
        h("p", {}, h("strong", {}, `${mark} ${note.headline}`)),
        points,
        ladder(note.hints),
      ].filter(Boolean),
    );
    this.note.dataset.tone = note.tone;
  }

  mark(book) {
    const right = new Map(book.map((one) => [one.patient, one.right]));
    for (const [n, button] of this.patients) {
      const seen = right.has(n);
      button.textContent = seen ? `${n} ${right.get(n) ? "✓" : "○"}` : String(n);
      button.setAttribute(
        "aria-label",
        `Patient ${n}${seen ? (right.get(n) ? ", first word right" : ", first word wrong") : ""}`,
      );
    }
  }

  press() {
    for (const [n, button] of this.patients)
      button.setAttribute("aria-pressed", n === this.patient);
    for (const [name, button] of this.looks)
      button.setAttribute("aria-pressed", name === this.examination);
    for (const button of [...this.patients.values(), ...this.looks.values(), this.commit])
      button.setAttribute("aria-disabled", this.busy);
    this.consult.hidden = this.patient === null;
    if (this.patient !== null)
      this.question.textContent = `What is wrong with patient ${this.patient}?`;
  }
}

function render({ model, el }) {
  const card = new ClinicCard(model, el);
  return () => card.close();
}

export default { render };
