"use strict";

const page = document.getElementById("page").dataset;
const drop = document.getElementById("drop");
const picker = document.getElementById("picker");
const said = document.getElementById("said");
const progress = document.getElementById("progress");
const clearing = document.getElementById("clear");
const results = document.getElementById("results");

const TRIES = 20;

// all since the last clearing; `batch` is another one after each
let batch = { pictures: [], done: 0, busy: false, stopped: new AbortController() };

// what has no look of its own, such as marks that turn the reading direction, is written as a code
function printable(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, found => "\\u" + found.codePointAt(0).toString(16).padStart(4, "0"));
}

function encoded(name) {
  try {
    return encodeURIComponent(name);
  } catch {
    return "picture"; // half a character
  }
}

function add(files) {
  for (const file of files) {
    const card = document.getElementById("result").content.cloneNode(true).querySelector("li");
    const name = printable(file.name || "pasted picture");
    const picture = { file, name, card, address: URL.createObjectURL(file) };
    card.classList.add("waiting");
    card.querySelector(".name bdi").textContent = name;
    card.querySelector(".name").title = name;
    showPhoto(picture);
    results.append(card);
    batch.pictures.push(picture);
  }
  if (files.length) {
    clearing.disabled = false;
    tell("");
    work(batch);
  }
}

function showPhoto(picture) {
  const photo = picture.card.querySelector(".photo");
  photo.addEventListener("load", () => shape(picture.card, photo.naturalWidth / photo.naturalHeight));
  photo.addEventListener("error", () => {
    photo.classList.add("gone");
    picture.card.querySelector(".view").classList.add("gone");
  });
  photo.src = picture.address;
}

function shape(card, ratio) {
  card.querySelector(".frame").style.setProperty("--ratio", ratio);
}

// one after the other; pictures that are added meanwhile come in their turn
async function work(mine) {
  if (mine.busy) {
    return;
  }
  mine.busy = true;
  while (mine.done < mine.pictures.length && mine === batch) {
    const picture = mine.pictures[mine.done];
    picture.card.querySelector(".verdict-line").textContent = "Scoring…";
    const answer = await ask(picture.file, mine.stopped.signal);
    if (mine !== batch) {
      return;
    }
    mine.done += 1;
    show(picture, answer);
  }
  mine.busy = false;
}

async function ask(file, signal) {
  if (file.size > Number(page.maxBytes)) {
    return { error: `The file is larger than ${Number(page.maxBytes) / 1e6} MB, the most that is taken.` };
  }
  const headers = { "Content-Type": "application/octet-stream", [page.ownHeader]: "1", [page.nameHeader]: encoded(file.name) };
  try {
    for (let attempt = 1; ; attempt += 1) {
      const response = await fetch("/score", { method: "POST", body: file, headers, signal });
      if (response.status !== 503 || attempt === TRIES) {
        return await response.json();
      }
      await new Promise(go => setTimeout(go, 1000 * Number(response.headers.get("Retry-After") || 1)));
      signal.throwIfAborted();
    }
  } catch {
    return { error: "There was no answer. Is the command that started this page still running, and the file still there?" };
  }
}

function show(picture, answer) {
  const card = picture.card;
  card.classList.remove("waiting");
  card.classList.add(answer.error ? "failed" : answer.verdict);
  card.querySelector(".verdict-line").textContent = answer.error ? "Not scored" : capitalised(answer.verdict);
  card.querySelector(".sentence").textContent = answer.error || answer.sentence;
  tell(`${shortened(picture.name)}: ${answer.error ? "not scored" : answer.verdict}.`);
  if (answer.error) {
    card.querySelector(".bar").hidden = true;
    return;
  }
  card.querySelector(".filled").style.setProperty("--share", answer.fake_probability);
  const threshold = card.querySelector(".threshold");
  threshold.style.setProperty("--share", answer.threshold);
  threshold.hidden = false;
  if (answer.warning) {
    card.querySelector(".doubt span").textContent = answer.warning.replace(/(?<![?])$/, ".");
    card.querySelector(".doubt").hidden = false;
  }
  shape(card, answer.width / answer.height);
  showHeat(card, answer);
}

function showHeat(card, answer) {
  if (!answer.heat_map) {
    return;
  }
  const layers = [card.querySelector(".heat"), card.querySelector(".seen")];
  for (const layer of layers) {
    ["left", "top", "right", "bottom"].forEach((side, at) => layer.style.setProperty(`--${side}`, answer.box[at]));
  }
  layers[0].src = answer.heat_map;
  const label = card.querySelector(".switch");
  label.querySelector("span").textContent = `What spoke for “${answer.verdict}”`;
  label.hidden = false;
  label.querySelector("input").addEventListener("change", event => {
    layers.forEach(layer => { layer.hidden = !event.target.checked; });
  });
}

function shortened(name) {
  return name.length > 40 ? `${name.slice(0, 20)}…${name.slice(-19)}` : name;
}

function capitalised(word) {
  return word[0].toUpperCase() + word.slice(1);
}

function tell(last) {
  const total = batch.pictures.length;
  said.textContent = total ? `${batch.done} of ${total} done. ${last}` : "No pictures yet.";
  progress.max = Math.max(total, 1);
  progress.value = batch.done;
}

clearing.addEventListener("click", () => {
  batch.stopped.abort();
  batch.pictures.forEach(picture => URL.revokeObjectURL(picture.address));
  batch = { pictures: [], done: 0, busy: false, stopped: new AbortController() };
  results.replaceChildren();
  clearing.disabled = true;
  picker.focus();
  tell("");
});

picker.addEventListener("change", () => {
  add([...picker.files]);
  picker.value = ""; // so that the same file can be chosen again
});

document.addEventListener("paste", event => add([...event.clipboardData.files]));

// anywhere on the page: a picture dropped beside the field would otherwise be opened in its place
document.addEventListener("dragover", event => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", event => {
  if (!event.relatedTarget) {
    drop.classList.remove("over");
  }
});
document.addEventListener("drop", event => {
  event.preventDefault();
  drop.classList.remove("over");
  add([...event.dataTransfer.files]);
});
