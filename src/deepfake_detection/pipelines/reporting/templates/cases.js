"use strict";
// Cases, enlarged, and their heat maps, which are off at first. Without this script, and on paper,
// a heat map stands beside its picture.
(() => {
  const at = (id) => document.getElementById(id);
  const enlarged = at("enlarged");
  if (!enlarged) return;
  const cases = [...document.querySelectorAll(".case")];
  const allHeat = at("all-heat");
  const oneHeat = at("one-heat");
  const hasHeat = (each) => Boolean(each.querySelector(".heat"));
  const canEnlarge = cases.filter((each) => each.querySelector(".picture"));
  let open = null;

  function showHeat(element, button, on) {
    element.classList.toggle("hot", on);
    button?.setAttribute("aria-pressed", on);
  }

  function enlarge(each) {
    open = each;
    at("stage").replaceChildren(each.querySelector(".picture").cloneNode(true));
    const caption = each.querySelector("figcaption").cloneNode(true);
    const words = [
      each.querySelector("img").alt.split(":")[0],
      `source ${each.dataset.source}`,
      `${canEnlarge.indexOf(each) + 1} of ${canEnlarge.length}`,
    ].map((text) => {
      const line = document.createElement("span");
      line.className = "what";
      line.textContent = text;
      return line;
    });
    at("said").replaceChildren(words[0], ...caption.childNodes, words[1], words[2]);
    // here is room for the whole path
    at("said").querySelector(".path").textContent = each.dataset.path;
    oneHeat.hidden = !hasHeat(each);
    if (!enlarged.open) enlarged.showModal();
  }

  function step(by) {
    const place = canEnlarge.indexOf(open) + by + canEnlarge.length;
    enlarge(canEnlarge[place % canEnlarge.length]);
  }

  for (const each of canEnlarge) {
    const tile = each.querySelector(".tile");
    const button = document.createElement("button");
    button.type = "button";
    button.className = tile.className;
    button.setAttribute("aria-haspopup", "dialog");
    button.append(...tile.childNodes);
    button.addEventListener("click", () => enlarge(each));
    tile.replaceWith(button);
  }
  for (const link of document.querySelectorAll(".first a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      enlarge(at(link.hash.slice(1)));
    });
  }
  const toggle = (element, button) =>
    button.addEventListener("click", () => {
      showHeat(element, button, button.getAttribute("aria-pressed") !== "true");
    });
  if (allHeat) {
    allHeat.hidden = false;
    toggle(at("errors"), allHeat);
  }
  toggle(enlarged, oneHeat);
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
  // who goes on with the keyboard goes on from the case that was open last
  enlarged.addEventListener("close", () => {
    const folded = open.closest("details:not([open])");
    (folded?.querySelector("summary") ?? open.querySelector("button.tile")).focus();
  });
  document.documentElement.classList.add("scripted");
})();
