// The threshold, moved over the histogram of scores. The page holds what each step gives.
(() => {
  const at = (id) => document.getElementById(id);
  const mover = at("mover");
  if (!mover) return;
  const { fakes, real, own, steps } = JSON.parse(mover.dataset.thresholds);
  const slider = at("threshold");
  const line = at("score-histogram-threshold");
  const plot = at("score-histogram-plot");
  const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");
  const given = (id) => Math.max(0, Number(at(id).value) || 0);

  function show() {
    const [threshold, place, detected, flagged] = steps[slider.value];
    const recall = detected / fakes;
    const specificity = 1 - flagged / real;
    const share = Math.min(1, given("share") / 100);
    const [found, alarms] = [share * recall, (1 - share) * (1 - specificity)];
    const missed = share * (1 - recall);
    const cost = 1000 * (missed * given("cost-missed") + alarms * given("cost-flagged"));
    at("threshold-value").textContent = threshold;
    slider.setAttribute("aria-valuetext", `${threshold}`);
    at("moved-recall").textContent = percent(recall);
    at("moved-specificity").textContent = percent(specificity);
    at("moved-precision").textContent = percent(found / (found + alarms));
    at("moved-cost").textContent = Number.isFinite(cost) ? cost.toFixed(0) : "–";
    if (line && plot) {
      const moved = (place - steps[own][1]) * plot.getBBox().width;
      line.setAttribute("transform", `translate(${moved} 0)`);
    }
  }

  slider.disabled = false;
  mover.addEventListener("input", show);
  mover.addEventListener("submit", (event) => event.preventDefault());
  at("own-threshold").addEventListener("click", () => {
    slider.value = own;
    show();
  });
  document.documentElement.classList.add("scripted");
  show();
})();
