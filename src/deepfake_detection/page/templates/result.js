// A file's result: the picture with its boxes, the verdict, and a card for each face.

const VERDICTS = { fake: "Fake", real: "Real", unsure: "Cannot say" };
const REASONS = {
  "unlike training": "unlike the images that the detector was trained on",
  "near the threshold": "too near the threshold to tell",
};

// never rounded to certainty
function inWords(probability) {
  if (probability > 0 && probability < 0.001) {
    return "< 0.001";
  }
  return probability < 1 && probability > 0.999 ? "> 0.999" : probability.toFixed(3);
}

function resultInWords(answer) {
  return answer.verdict ? VERDICTS[answer.verdict].toLowerCase() : "not scored";
}

function sentence(text) {
  return text.replace(/[.?!]?$/, end => end || ".").replace(/^./, first => first.toUpperCase());
}

function show(entry) {
  const { card, answer } = entry;
  card.classList.remove("waiting");
  card.classList.add(answer.verdict || "failed");
  card.querySelector(".verdict-line").textContent = answer.verdict ? VERDICTS[answer.verdict] : notScored(answer);
  card.querySelector(".sentence").textContent = describe(answer);
  if (answer.verdict === "unsure") {
    card.querySelector(".number p").textContent = describeNumber(answer);
    card.querySelector(".number").hidden = false;
  }
  if (answer.warning) {
    card.querySelector(".warning span").textContent = sentence(answer.warning);
    card.querySelector(".warning").hidden = false;
  }
  if (answer.kind === "picture") {
    showPicture(entry);
  } else if (answer.kind === "clip") {
    showClip(entry);
  }
}

function notScored(answer) {
  return answer.error.startsWith("no face") ? "No face found: not scored" : "Not scored";
}

function describe(answer) {
  if (!answer.verdict) {
    return answer.error === "no face" ? "" : sentence(answer.error);
  }
  const several = (answer.tracks || answer.faces).length > 1 ? "One face decides: a fake one, else one that nothing can be said of. " : "";
  if (answer.verdict === "unsure") {
    return `${several}It is ${REASONS[answer.doubt] || answer.doubt}.`;
  }
  return several + describeNumber(answer) + describeLost(answer);
}

function describeNumber(answer) {
  const unlike = answer.doubt !== "unlike training" ? ""
    : ` It is less like the training images than ${Math.round(100 * answer.unlikeness)} % of the validation images.`;
  return `Fake probability ${inWords(answer.fake_probability)}. The verdict is fake from ${inWords(answer.threshold)} on.${unlike}`;
}

function describeLost(answer) {
  const lost = (answer.lost || []).filter(([seconds]) => seconds !== null);
  const whole = (answer.lost || []).filter(([seconds]) => seconds === null).map(([, reason]) => ` ${sentence(reason)}`);
  const frames = lost.length ? ` ${lost.length} of ${lost.length + facedFrames(answer)} frames have no score: ${[...new Set(lost.map(([, reason]) => reason))].slice(0, 3).join("; ")}.` : "";
  return frames + whole.join("");
}

function facedFrames(answer) {
  return new Set(answer.tracks.flatMap(track => track.frames.map(frame => frame.number))).size;
}

// what the browser can show of a file before the answer comes
function showPreview(entry) {
  const photo = entry.card.querySelector(".photo");
  photo.addEventListener("load", () => {
    entry.card.querySelector(".view").classList.remove("gone");
    entry.card.querySelector(".frame").style.setProperty("--ratio", photo.naturalWidth / photo.naturalHeight);
  });
  photo.addEventListener("error", () => entry.card.querySelector(".view").classList.add("gone"));
  photo.src = entry.address;
  entry.card.querySelector(".frame").addEventListener("click", () => enlarge(entry));
}

function showPicture(entry) {
  const { card, answer } = entry;
  card.querySelector(".photo").src = answer.picture;
  const boxes = answer.faces.map((face, at) => ({ box: face.box, kind: face.verdict, label: answer.faces.length > 1 ? at + 1 : "" }));
  const grey = answer.unscored.map(face => ({ box: face.box, kind: "unscored", label: "", title: face.reason }));
  const seen = answer.seen ? [{ box: answer.seen.map((share, at) => share * [answer.width, answer.height][at % 2]), kind: "seen", label: "" }] : [];
  drawBoxes(card.querySelector(".boxes"), [...grey, ...seen, ...boxes], answer.width, answer.height);
  const list = card.querySelector(".faces");
  const faces = answer.faces.length ? answer.faces : answer.crops.map(() => answer);
  faces.forEach((face, at) => list.append(faceCard(face, answer, at)));
  answer.unscored.forEach(face => {
    const item = document.createElement("li");
    item.className = "beneath";
    item.textContent = `A face (grey box) is not scored: ${face.reason}.`;
    list.append(item);
  });
  if (page.explains && answer.crops.length) {
    offerHeat(entry);
  }
}

function faceCard(face, answer, at) {
  const item = copyOf("face");
  const several = answer.faces.length > 1;
  item.classList.add(face.verdict);
  item.querySelector(".crop-picture").src = answer.crops[at];
  item.querySelector(".who").textContent = answer.faces.length ? `Face${several ? ` ${at + 1}` : ""}` : "Scored whole, as a crop of one face";
  item.querySelector(".crop-picture").alt = `What the network saw${several ? ` of face ${at + 1}` : ""}`;
  showFaceVerdict(item, face, answer.threshold, several);
  return item;
}

// the verdict stands above already where there is one face alone
function showFaceVerdict(item, face, threshold, several) {
  const sure = face.verdict !== "unsure";
  const line = item.querySelector(".face-verdict");
  line.textContent = sure ? `${VERDICTS[face.verdict]}, ${inWords(face.fake_probability)}` : `${VERDICTS.unsure}: ${REASONS[face.doubt] || face.doubt}`;
  line.hidden = !several && !sure;
  item.querySelector(".bar").hidden = !sure;
  item.querySelector(".filled").style.setProperty("--share", face.fake_probability);
  item.querySelector(".threshold").style.setProperty("--share", threshold);
  if (several && !sure) {
    item.querySelector(".number p").textContent = describeNumber({ ...face, threshold });
    item.querySelector(".number").hidden = false;
  }
  if (several && face.warning) {
    item.querySelector(".face-warning").textContent = sentence(face.warning);
  }
}

function drawBoxes(layer, boxes, width, height) {
  layer.replaceChildren(...boxes.map(({ box, kind, label, title, colour }) => {
    const [left, top, right, bottom] = box;
    const shape = document.createElement("span");
    shape.className = `box ${kind}`;
    shape.style.cssText = `left: ${100 * left / width}%; top: ${100 * top / height}%; width: ${100 * (right - left) / width}%; height: ${100 * (bottom - top) / height}%`;
    if (colour) {
      shape.style.setProperty("--accent", colour);
    }
    shape.title = title || "";
    if (label !== "") {
      const tag = document.createElement("b");
      tag.textContent = label;
      shape.append(tag);
    }
    return shape;
  }));
}

// the file is sent again for its heat maps: most people ask for none
function offerHeat(entry) {
  const label = entry.card.querySelector(".switch");
  const input = label.querySelector("input");
  label.hidden = false;
  input.addEventListener("change", async () => {
    if (input.checked && !entry.heat) {
      input.disabled = true;
      entry.heat = await ask(entry.file, "heat_maps=1", batch.stopped.signal);
      input.disabled = false;
    }
    const maps = entry.heat?.heat_maps;
    entry.card.querySelectorAll(".heat").forEach((layer, at) => {
      layer.hidden = !input.checked || !maps?.[at];
      layer.src = maps?.[at] || "";
    });
    const missing = entry.heat?.error || (maps?.includes(null) ? "the network's numbers for a heat map are not finite" : "");
    entry.card.querySelector(".heat-said").textContent = input.checked && missing ? sentence(missing) : "";
  });
}

function enlarge(entry) {
  const dialog = document.getElementById("large");
  const copy = entry.card.querySelector(".frame").cloneNode(true);
  const shown = document.createElement("div");
  shown.className = "frame";
  shown.style.cssText = copy.style.cssText;
  shown.append(...copy.childNodes);
  dialog.querySelector(".frame").replaceWith(shown);
  dialog.showModal();
}
