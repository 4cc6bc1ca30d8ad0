// The choices of a guess become buttons. To choose opens what is so, and says what was chosen.
for (const guess of document.querySelectorAll(".admonition.guess")) {
  const outcome = guess.parentElement.querySelector(":scope > details.outcome");
  const choices = [...guess.querySelectorAll("ol > li")];
  const right = choices[Number(/answer-(\d)/.exec(guess.className)?.[1]) - 1];
  if (!outcome || !right) continue;

  const verdict = document.createElement("p");
  verdict.setAttribute("role", "status"); // read out when it changes
  guess.append(verdict);
  const texts = new Map(choices.map((choice) => [choice, choice.textContent.trim()]));
  for (const choice of choices) {
    const button = document.createElement("button");
    button.type = "button";
    button.replaceChildren(...choice.childNodes);
    button.addEventListener("click", () => {
      for (const other of choices) other.classList.remove("chosen");
      choice.classList.add("chosen");
      guess.classList.add("answered");
      right.classList.add("right");
      verdict.textContent =
        choice === right
          ? `You chose “${texts.get(choice)}”. So it is.`
          : `You chose “${texts.get(choice)}”. It is “${texts.get(right)}”.`;
      outcome.open = true;
    });
    choice.append(button);
  }
}

// A link to what is folded opens the fold.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folds = [];
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) folds.push(fold);
  const closed = folds.filter((fold) => !fold.open);
  for (const fold of closed) fold.open = true;
  if (closed.length) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
