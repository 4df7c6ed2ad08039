// One question, a few answers, a confidence, a button. Native controls, so that keyboard and screen
// reader work as everywhere else. All text comes from Python and is set as text, never as markup.

import { h, keepKeys, newClient } from "../console/js/ui.js";

function choiceRow(model, name, choice) {
  const input = h("input", {
    type: "radio",
    name,
    value: choice,
    checked: model.get("guess") === choice,
  });
  return h("label", { class: "labkit-choice" }, input, h("span", {}, choice));
}

function confidenceRow(model, id) {
  const chance = Math.round(100 / model.get("choices").length);
  const start = model.get("confidence") || Math.floor((chance + 100) / 2);
  const slider = h("input", { type: "range", id, min: chance, max: 100, step: 1, value: start });
  const shown = h("span", { "aria-hidden": "true" }); // the slider says it itself
  const show = () => {
    shown.textContent = `${slider.value} %`;
    slider.setAttribute("aria-valuetext", `${slider.value} percent sure`);
  };
  slider.addEventListener("input", show);
  show();
  const label = h("label", { for: id }, "How sure are you?");
  return [h("div", { class: "labkit-sure" }, label, slider, shown), slider];
}

function render({ model, el }) {
  const name = `labkit-${model.get("id")}-${newClient()}`;
  // Not a <form>: a sandboxed output frame may forbid forms, and then the button would do nothing.
  const card = h("div", { class: "labkit-prediction lk-paper" });
  const choices = h("fieldset", {}, h("legend", {}, model.get("question")));
  choices.append(...model.get("choices").map((choice) => choiceRow(model, name, choice)));
  const [sure, slider] = confidenceRow(model, `${name}-sure`);
  const button = h("button", { type: "button" }, "Commit to this guess");
  const status = h("p", { class: "labkit-status", tabindex: -1, role: "status" });
  card.append(choices, sure, button, status);

  const refresh = () => {
    const guess = model.get("guess");
    const leaving = guess && document.activeElement === button;
    for (const control of card.querySelectorAll("input, button")) control.disabled = guess !== "";
    for (const radio of card.querySelectorAll("input[type=radio]")) {
      if (guess) radio.checked = radio.value === guess;
    }
    if (guess)
      status.textContent = `Kept: ${guess} (${model.get("confidence")} % sure). Read on to see.`;
    // The button goes, and the keyboard should not fall back to the top.
    if (leaving) status.focus();
  };
  button.addEventListener("click", () => {
    const picked = card.querySelector("input[type=radio]:checked");
    if (!picked) {
      status.textContent = "Choose one of the answers first.";
      return;
    }
    model.send({ kind: "commit", guess: picked.value, confidence: Number(slider.value) });
  });
  keepKeys(el);
  const answered = ({ problem }) => {
    if (problem) status.textContent = problem;
  };
  model.on("change:guess", refresh);
  model.on("msg:custom", answered);
  refresh();
  el.append(card);
  return () => {
    model.off("change:guess", refresh);
    model.off("msg:custom", answered);
  };
}

export default { render };
