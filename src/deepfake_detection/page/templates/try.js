"use strict";

const page = document.getElementById("page").dataset;
const drop = document.getElementById("drop");
const picker = document.getElementById("picker");
const said = document.getElementById("said");
const progress = document.getElementById("progress");
const clearing = document.getElementById("clear");
const results = document.getElementById("results");

// all images since the last Clear, which starts a new batch
let batch = newBatch();

function newBatch() {
  return { pictures: [], done: 0, busy: false, stopped: new AbortController() };
}

// invisible characters, such as marks that change the reading direction, are shown as escapes
function printable(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, found => "\\u" + found.codePointAt(0).toString(16).padStart(4, "0"));
}

function add(files) {
  for (const file of files) {
    const card = document.getElementById("result").content.cloneNode(true).querySelector("li");
    const name = printable(file.name || "pasted image");
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

// one at a time; images that are added meanwhile wait
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
  if (file.size > 1e6 * Number(page.maxMegabytes)) {
    return { error: `The file has more than ${page.maxMegabytes} MB.` };
  }
  const headers = { "Content-Type": "application/octet-stream", [page.ownHeader]: "1" };
  try {
    for (;;) {
      const response = await fetch("/score", { method: "POST", body: file, headers, signal });
      const pause = response.status === 503 && Number(response.headers.get("Retry-After"));
      if (!pause) {
        return await response.json();
      }
      // other pages have their images scored
      await new Promise(done => setTimeout(done, 1000 * pause));
    }
  } catch {
    return { error: "No answer. Check that deepfake-page is still running and that the file still exists." };
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
    card.querySelector(".warning span").textContent = answer.warning.replace(/(?<![?])$/, ".");
    card.querySelector(".warning").hidden = false;
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
  label.querySelector("span").textContent = `Heat map of “${answer.verdict}”`;
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
  said.textContent = total ? `${batch.done} of ${total} done. ${last}` : "No images yet.";
  progress.max = Math.max(total, 1);
  progress.value = batch.done;
}

clearing.addEventListener("click", () => {
  batch.stopped.abort();
  batch.pictures.forEach(picture => URL.revokeObjectURL(picture.address));
  batch = newBatch();
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

// on the whole page: the browser would open an image that is dropped beside the field
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
