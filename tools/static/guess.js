// The choices of a guess become buttons. To choose opens what is so, and says what was chosen.
const first = new Map(); // guess → whether its first choice was right
const score = document.createElement("p");
score.className = "guess-score";
score.setAttribute("role", "status");

// A page of many guesses says how many were right, below the last one.
function count() {
  const right = [...first.values()].filter(Boolean).length;
  score.textContent = `${right} of ${first.size} right at the first try, of ${quiz.length} in all.`;
}
const quiz = document.querySelectorAll(".admonition.guess.quiz");
[...quiz].at(-1)?.after(score);

for (const guess of document.querySelectorAll(".admonition.guess")) {
  const outcome =
    guess.querySelector("details") ?? guess.parentElement.querySelector(":scope > details.outcome");
  const choices = [...guess.querySelectorAll("ol > li")];
  const right = choices[Number(/answer-(\d)/.exec(guess.className)?.[1]) - 1];
  if (!outcome || !right) continue;

  const verdict = document.createElement("p");
  verdict.setAttribute("role", "status"); // read out when it changes
  guess.querySelector("ol").after(verdict);
  const texts = new Map(choices.map((choice) => [choice, choice.textContent.trim()]));
  for (const choice of choices) {
    const button = document.createElement("button");
    button.type = "button";
    button.replaceChildren(...choice.childNodes);
    button.addEventListener("click", () => {
      for (const other of choices) other.classList.remove("chosen");
      choice.classList.add("chosen");
      right.classList.add("right");
      verdict.textContent =
        choice === right
          ? `You chose “${texts.get(choice)}”. So it is.`
          : `You chose “${texts.get(choice)}”. It is “${texts.get(right)}”.`;
      outcome.open = true;
      first.set(guess, first.get(guess) ?? choice === right);
      count();
    });
    choice.append(button);
  }
}

// A link to what is folded opens the fold.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  let moved = false;
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) {
    moved ||= !fold.open;
    fold.open = true;
  }
  if (moved) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
