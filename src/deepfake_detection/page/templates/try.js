"use strict";

const page = document.getElementById("page").dataset;
const drop = document.getElementById("drop");
const picker = document.getElementById("picker");
const said = document.getElementById("said");
const progress = document.getElementById("progress");
const clearing = document.getElementById("clear");
const results = document.getElementById("results");

// all files since the last Clear, which starts a new batch
let batch = newBatch();

function newBatch() {
  return { files: [], done: 0, busy: false, stopped: new AbortController() };
}

// invisible characters, such as marks that change the reading direction, are shown as escapes
function printable(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, found => "\\u" + found.codePointAt(0).toString(16).padStart(4, "0"));
}

function uniqueName(wanted) {
  const taken = new Set(batch.files.map(each => each.name));
  let name = wanted;
  for (let number = 2; taken.has(name); number += 1) {
    name = `${wanted} (${number})`;
  }
  return name;
}

function add(files) {
  for (const file of files) {
    const name = uniqueName(printable(file.name || "pasted picture"));
    const entry = { file, name, card: copyOf("result"), address: URL.createObjectURL(file), answer: null };
    entry.card.querySelector(".name bdi").textContent = name;
    entry.card.querySelector(".name").title = name;
    showPreview(entry);
    results.append(entry.card);
    batch.files.push(entry);
  }
  if (files.length) {
    clearing.disabled = false;
    tell("");
    work(batch);
  }
}

function copyOf(template) {
  return document.getElementById(template).content.cloneNode(true).firstElementChild;
}

// one at a time; files that are added meanwhile wait
async function work(mine) {
  if (mine.busy) {
    return;
  }
  mine.busy = true;
  while (mine.done < mine.files.length && mine === batch) {
    const entry = mine.files[mine.done];
    entry.card.querySelector(".verdict-line").textContent = "Scoring…";
    const answer = await ask(entry.file, "pictures=1", mine.stopped.signal);
    if (mine !== batch) {
      return;
    }
    mine.done += 1;
    entry.answer = answer;
    show(entry);
    showOverview();
    tell(`${shortened(entry.name)}: ${resultInWords(answer)}.`);
  }
  mine.busy = false;
}

async function ask(file, query, signal) {
  const clip = file.type.startsWith("video/");
  const megabytes = Number(clip ? page.maxClipMegabytes : page.maxMegabytes);
  // the type of a file without a known ending is empty: the server looks into it
  if (file.size > 1e6 * (file.type ? megabytes : Math.max(page.maxMegabytes, page.maxClipMegabytes))) {
    return { error: `The file has more than ${megabytes} MB.`, refused: true };
  }
  const headers = { "Content-Type": "application/octet-stream", [page.ownHeader]: "1" };
  try {
    for (;;) {
      const response = await fetch(`/score?${query}`, { method: "POST", body: file, headers, signal });
      const pause = response.status === 503 && Number(response.headers.get("Retry-After"));
      if (!pause) {
        return { ...await response.json(), refused: !response.ok };
      }
      // other pages have their files scored
      await new Promise(done => setTimeout(done, 1000 * pause));
    }
  } catch {
    return { error: "No answer. Check that deepfake-page is still running and that the file still exists.", refused: true };
  }
}

function shortened(name) {
  return name.length > 40 ? `${name.slice(0, 20)}…${name.slice(-19)}` : name;
}

function tell(last) {
  const total = batch.files.length;
  said.textContent = total ? `${batch.done} of ${total} done. ${last}` : "No files yet.";
  progress.max = Math.max(total, 1);
  progress.value = batch.done;
}

clearing.addEventListener("click", () => {
  batch.stopped.abort();
  batch.files.forEach(entry => URL.revokeObjectURL(entry.address));
  batch = newBatch();
  results.replaceChildren();
  showOverview();
  clearing.disabled = true;
  picker.focus();
  tell("");
});

picker.addEventListener("change", () => {
  add([...picker.files]);
  picker.value = ""; // so that the same file can be chosen again
});

// files that are pasted or dropped; of anything else, why it is not taken
function take(data) {
  const files = [...data.files];
  add(files);
  if (!files.length && data.types.length) {
    said.textContent = "That is text or an address, not a file. This page fetches nothing: save the picture or the clip, then drop the file here.";
  }
}

document.addEventListener("paste", event => take(event.clipboardData));

// on the whole page: the browser would open a file that is dropped beside the field
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
  take(event.dataTransfer);
});

document.querySelectorAll("[data-example]").forEach(button => {
  button.addEventListener("click", async () => {
    const content = await (await fetch(button.dataset.example)).blob();
    add([new File([content], button.dataset.name, { type: content.type })]);
  });
});
