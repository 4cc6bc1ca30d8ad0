// Steps through the figures that lessons.history makes: each holds its own data.
for (const figure of document.querySelectorAll("figure.history:not(.ready)")) {
  const { formulas, values, texts } = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
  const steps = values[0].length;
  const [back, play, next] = figure.querySelectorAll("button");
  const slider = figure.querySelector("input");
  const label = figure.querySelector("output");
  const rows = [...figure.querySelectorAll(".frames tbody tr")];
  let timer = null;

  const place = (row, value) => {  // in parts of the bar's width, with zero where the row's values need it
    const low = Math.min(0, ...values[row]), high = Math.max(0, ...values[row]);
    return high > low ? (value / 2 - low / 2) / (high / 2 - low / 2) : 0;  // halves do not overflow
  };
  const show = (step) => {
    slider.value = step;
    label.textContent = `step ${step} of ${steps}`;
    back.disabled = step <= 1;
    next.disabled = step >= steps;
    rows.forEach((row, i) => {
      const [, formula, number, cell] = row.children;
      const [bar, last] = cell.firstElementChild.children;
      const value = values[i][step - 1], previous = values[i][Math.max(0, step - 2)];
      const zero = place(i, 0), end = place(i, value);
      formula.innerHTML = formulas[i][step - 1];
      number.textContent = texts[i][step - 1];
      bar.style.left = `${100 * Math.min(zero, end)}%`;
      bar.style.width = `${Math.max(1, 100 * Math.abs(end - zero))}%`;
      last.style.left = `${100 * place(i, previous)}%`;
      bar.hidden = value === null;  // infinity or NaN: the text says which
      last.hidden = step === 1 || previous === null;
    });
  };
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const go = (step) => { stop(); show(step); };
  back.onclick = () => go(+slider.value - 1);
  next.onclick = () => go(+slider.value + 1);
  slider.oninput = () => go(+slider.value);
  play.onclick = () => {
    if (timer) return stop();
    if (+slider.value >= steps) show(1);
    play.textContent = "Pause";
    timer = setInterval(() => {
      show(+slider.value + 1);
      if (+slider.value >= steps) stop();
    }, 1500);
  };
  figure.classList.add("ready");
  show(1);
}
