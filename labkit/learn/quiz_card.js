// Questions, a button for each option, and the reason for the one that was chosen. Native controls,
// so that keyboard and screen reader work as everywhere else. All text comes from Python and is set
// as text, never as markup. The answer is shown at once, whatever the kernel is doing; the kernel
// keeps the first choice and tells all views of it.
//
// Message  choose {question, option}: places, counted from 0  ->  {problem}: why it was not kept,
// or nothing

import { h, keepKeys, said } from "../console/js/ui.js";

const NONE = -1;
const LETTERS = "abcd";

// One question: its options, what was chosen, and why that is right or not.
class Asked {
  constructor(question, number, choose) {
    this.question = question;
    this.tried = new Set();
    this.buttons = question.options.map((_, place) =>
      h("button", { type: "button", onclick: () => choose(place) }),
    );
    this.status = h("p", { class: "labkit-quiz-reason", role: "status" });
    const legend = h("legend", {}, `${number}. `, ...said(question.text));
    this.root = h("fieldset", {}, legend, ...this.buttons, this.status);
    this.show(NONE, NONE);
  }

  show(first, latest) {
    for (const place of [first, latest]) if (place !== NONE) this.tried.add(place);
    this.buttons.forEach((button, place) => this.mark(button, place, first, latest));
    if (latest === NONE || latest === this.latest) return; // said once is enough
    this.latest = latest;
    const { verdict, reason } = this.question.options[latest];
    const head = h("strong", {}, `${LETTERS[latest]}) ${verdict}`);
    this.status.replaceChildren(head, " ", ...said(reason));
  }

  mark(button, place, first, latest) {
    const { text, verdict } = this.question.options[place];
    const words = place === first ? `${verdict} Your first choice.` : verdict;
    const mark = this.tried.has(place) ? [" ", h("em", {}, words)] : [];
    button.replaceChildren(`${LETTERS[place]}) `, ...said(text), ...mark);
    // The option that the reason below speaks of.
    button.setAttribute("aria-current", place === latest);
  }
}

function render({ model, el }) {
  const places = { first: [...model.get("first")], latest: [...model.get("latest")] };
  const asked = model
    .get("questions")
    .map((question, at) => new Asked(question, at + 1, (place) => choose(at, place)));
  const score = h("p", { class: "labkit-quiz-score" });
  const trouble = h("p", { class: "labkit-quiz-score", role: "alert" });
  const card = h(
    "div",
    { class: "labkit-quiz lk-paper" },
    ...asked.map((one) => one.root),
    score,
    trouble,
  );

  const show = () => {
    asked.forEach((one, at) => one.show(places.first[at], places.latest[at]));
    const answered = asked.filter((_, at) => places.first[at] !== NONE);
    const right = asked.filter((one, at) => one.question.options[places.first[at]]?.right);
    score.textContent = answered.length
      ? `First choices: ${right.length} of ${answered.length} right.`
      : "The first choice counts. Go on choosing until it is right.";
  };
  const choose = (question, option) => {
    if (places.first[question] === NONE) places.first[question] = option;
    places.latest[question] = option;
    show();
    model.send({ kind: "choose", question, option });
  };
  const told = () => {
    places.first = [...model.get("first")];
    places.latest = places.latest.map((place, at) => (place === NONE ? places.first[at] : place));
    show();
  };
  keepKeys(el);
  const answered = ({ problem }) => {
    trouble.textContent = problem;
  };
  model.on("change:first", told);
  model.on("msg:custom", answered);
  show();
  el.append(card);
  return () => {
    model.off("change:first", told);
    model.off("msg:custom", answered);
  };
}

export default { render };
