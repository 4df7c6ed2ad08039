// One question, a few answers, a confidence, a button. Native controls, so that keyboard and screen reader work as
// everywhere else. All text comes from Python and is set as text, never as markup.

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function choiceRow(model, name, choice) {
  const input = element("input", { type: "radio", name, value: choice, checked: model.get("guess") === choice });
  return element("label", { className: "labkit-choice" }, input, element("span", { textContent: choice }));
}

function confidenceRow(model, id) {
  const chance = Math.round(100 / model.get("choices").length);
  const start = model.get("confidence") || Math.floor((chance + 100) / 2);
  const slider = element("input", { type: "range", id, min: chance, max: 100, step: 1, value: start });
  const shown = element("span", { ariaHidden: "true" }); // the slider says it itself
  const show = () => {
    shown.textContent = `${slider.value} %`;
    slider.setAttribute("aria-valuetext", `${slider.value} percent sure`);
  };
  slider.addEventListener("input", show);
  show();
  const label = element("label", { htmlFor: id, textContent: "How sure are you?" });
  return [element("div", { className: "labkit-sure" }, label, slider, shown), slider];
}

function render({ model, el }) {
  const name = `labkit-${model.get("id")}-${Math.random().toString(36).slice(2)}`;
  // Not a <form>: a sandboxed output frame may forbid forms, and then the button would do nothing.
  const card = element("div", { className: "labkit-prediction" });
  const choices = element("fieldset", {}, element("legend", { textContent: model.get("question") }));
  choices.append(...model.get("choices").map((choice) => choiceRow(model, name, choice)));
  const [sure, slider] = confidenceRow(model, `${name}-sure`);
  const button = element("button", { type: "button", textContent: "Commit to this guess" });
  const status = element("p", { className: "labkit-status", tabIndex: -1 });
  status.setAttribute("role", "status");
  card.append(choices, sure, button, status);

  const refresh = () => {
    const guess = model.get("guess");
    const leaving = guess && document.activeElement === button;
    for (const control of card.querySelectorAll("input, button")) control.disabled = guess !== "";
    for (const radio of card.querySelectorAll("input[type=radio]")) {
      if (guess) radio.checked = radio.value === guess;
    }
    if (guess) status.textContent = `Kept: ${guess} (${model.get("confidence")} % sure). Read on to see.`;
    if (leaving) status.focus(); // the button goes, and the keyboard should not fall back to the top
  };
  button.addEventListener("click", () => {
    const picked = card.querySelector("input[type=radio]:checked");
    if (!picked) {
      status.textContent = "Choose one of the answers first.";
      return;
    }
    model.send({ kind: "commit", guess: picked.value, confidence: Number(slider.value) });
  });
  // JupyterLab's shortcuts would take the arrow keys that move between the answers.
  el.addEventListener("keydown", (event) => event.stopPropagation());
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
