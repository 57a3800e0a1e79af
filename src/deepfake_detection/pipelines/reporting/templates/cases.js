"use strict";
// The gallery of cases: chosen, sorted, enlarged. Without this script, and on paper, all of it is
// shown in its own order. What it knows of a case stands in the data-* attributes of its element.
(() => {
  const at = (id) => document.getElementById(id);
  const list = at("cases");
  if (!list) return;
  const cases = [...list.children];
  const chosen = { kind: at("choose-kind"), class: at("choose-class"), path: at("choose-path") };
  const order = at("choose-order");
  const allHeat = at("all-heat");
  const oneHeat = at("one-heat");
  const enlarged = at("enlarged");
  const names = new Intl.Collator("en", { numeric: true });
  const orders = {
    highest: (a, b) => b.dataset.probability - a.dataset.probability,
    lowest: (a, b) => a.dataset.probability - b.dataset.probability,
    path: (a, b) => names.compare(a.dataset.path, b.dataset.path),
    source: (a, b) => names.compare(a.dataset.source, b.dataset.source),
  };
  let open = null;

  const isChosen = ({ dataset }) =>
    (!chosen.kind.value || dataset.kind === chosen.kind.value) &&
    (!chosen.class.value || dataset.class === chosen.class.value) &&
    dataset.path.toLowerCase().includes(chosen.path.value.toLowerCase());

  function arrange() {
    // sorting keeps the order of equals, which is the page's own
    const sorted = order.value ? [...cases].sort(orders[order.value]) : cases;
    for (const each of cases) each.hidden = !isChosen(each);
    list.append(...sorted);
    const shown = cases.filter((each) => !each.hidden).length;
    at("counted").textContent = `${shown} of ${cases.length} cases are shown.`;
  }

  function showAll() {
    for (const each of cases) each.hidden = false;
    list.append(...cases);
  }

  const hasHeat = (each) => Boolean(each.querySelector(".heat"));

  function setHeat(each, on) {
    each.classList.toggle("bare", !on);
    each.querySelector(".switch")?.setAttribute("aria-pressed", on);
    if (each === open) {
      enlarged.classList.toggle("bare", !on);
      oneHeat.setAttribute("aria-pressed", on);
    }
  }

  function toggleHeat(each) {
    setHeat(each, each.classList.contains("bare"));
    const withHeat = cases.filter(hasHeat);
    const on = withHeat.every((case_) => !case_.classList.contains("bare"));
    allHeat.setAttribute("aria-pressed", on);
  }

  const canEnlarge = (each) => !each.hidden && each.querySelector("button.tile");

  function enlarge(each) {
    open = each;
    at("stage").replaceChildren(each.querySelector(".picture").cloneNode(true));
    const caption = each.querySelector("figcaption").cloneNode(true);
    caption.querySelector(".switch")?.remove();
    const among = [...list.children].filter(canEnlarge);
    const place = document.createElement("span");
    place.className = "what";
    place.textContent = `${among.indexOf(each) + 1} of ${among.length}`;
    at("said").replaceChildren(...caption.childNodes, place);
    // here is room for the whole path
    at("said").querySelector(".path").textContent = each.querySelector(".path").title;
    oneHeat.hidden = !hasHeat(each);
    setHeat(each, !each.classList.contains("bare"));
    if (!enlarged.open) enlarged.showModal();
  }

  function step(by) {
    const among = [...list.children].filter(canEnlarge);
    enlarge(among[(among.indexOf(open) + by + among.length) % among.length]);
  }

  function makeTile(each) {
    const tile = each.querySelector(".tile");
    if (!tile.querySelector(".picture")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = tile.className;
    button.setAttribute("aria-haspopup", "dialog");
    button.append(...tile.childNodes);
    button.addEventListener("click", () => enlarge(each));
    tile.replaceWith(button);
  }

  function makeSwitch(each) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "switch";
    button.textContent = "Heat map";
    button.setAttribute("aria-pressed", "true");
    button.setAttribute("aria-label", `Heat map of ${each.dataset.path}`);
    button.addEventListener("click", () => toggleHeat(each));
    each.querySelector("figcaption").append(button);
  }

  for (const each of cases) {
    makeTile(each);
    if (hasHeat(each)) makeSwitch(each);
  }
  for (const control of [...Object.values(chosen), order]) {
    control.addEventListener("input", arrange);
  }
  allHeat?.addEventListener("click", () => {
    const on = allHeat.getAttribute("aria-pressed") !== "true";
    allHeat.setAttribute("aria-pressed", on);
    for (const each of cases) setHeat(each, on);
  });
  oneHeat.addEventListener("click", () => toggleHeat(open));
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => enlarged.close());
  enlarged.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft") step(-1);
    if (key === "ArrowRight") step(1);
  });
  enlarged.addEventListener("click", ({ target }) => {
    if (target === enlarged) enlarged.close();
  });
  enlarged.addEventListener("close", () => open.querySelector("button.tile").focus());
  // paper shows all cases in the page's own order, whatever was chosen on the screen
  addEventListener("beforeprint", showAll);
  addEventListener("afterprint", arrange);

  document.documentElement.classList.add("scripted");
  at("choices").hidden = false;
  arrange();
})();
