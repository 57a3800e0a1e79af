// A clip's result: the frames of each person over time. Arrow keys move from frame to frame.

// none is a colour of a verdict
const PEOPLE = ["#009E73", "#CC79A7", "#E69F00", "#999933", "#AA4499", "#8A929C"];
const PLOT = { height: 190, left: 34, right: 12, top: 10, bottom: 24 };
const FACE = 40;
const SVG = document.getElementById("plot").content.firstElementChild.namespaceURI;

function showClip(entry) {
  const { card, answer } = entry;
  if (!answer.frames.length) {
    return;
  }
  card.classList.add("clip");
  const slider = card.querySelector(".timeline");
  card.querySelector(".over-time").hidden = false;
  // numbers that say nothing are not shown unless asked for
  card.querySelector(".over-time").open = answer.tracks.some(track => track.doubt !== "unlike training");
  const faces = answer.tracks.flatMap(track => track.frames.map(frame => ({ ...frame, track: track.number })));
  const clip = { entry, answer, slider, faces, at: 0, end: Math.max(answer.frames.at(-1).seconds, 0.001) };
  showPeople(clip);
  new ResizeObserver(() => drawTimeline(clip)).observe(slider);
  slider.addEventListener("keydown", event => {
    const last = answer.frames.length - 1;
    const place = { ArrowRight: clip.at + 1, ArrowUp: clip.at + 1, ArrowLeft: clip.at - 1, ArrowDown: clip.at - 1, Home: 0, End: last }[event.key];
    if (place !== undefined) {
      event.preventDefault();
      showFrame(clip, Math.min(Math.max(place, 0), last));
    }
  });
  slider.addEventListener("pointerdown", event => showFrame(clip, nearestFrame(clip, event)));
  slider.addEventListener("pointermove", event => event.buttons && showFrame(clip, nearestFrame(clip, event)));
  slider.setAttribute("aria-valuemin", 0);
  slider.setAttribute("aria-valuemax", answer.frames.length - 1);
  const peak = faces.reduce((best, each) => each.face.fake_probability > best.face.fake_probability ? each : best, faces[0]);
  drawTimeline(clip);
  // the most fake moment is shown first
  showFrame(clip, peak ? answer.frames.findIndex(frame => frame.number === peak.number) : 0);
}

function colourOf(track) {
  return PEOPLE[track % PEOPLE.length];
}

function showPeople({ entry, answer }) {
  const list = entry.card.querySelector(".faces");
  const several = answer.tracks.length > 1;
  for (const track of answer.tracks) {
    const item = copyOf("face");
    const first = track.frames[0];
    item.classList.add(track.verdict, "person");
    item.style.setProperty("--person", colourOf(track.number));
    item.querySelector(".crop").replaceChildren(cutFace(answer.frames.find(frame => frame.number === first.number), first.face.box, 96));
    item.querySelector(".who").textContent = `Person${several ? ` ${track.number + 1}` : ""}, in ${track.frames.length} of ${answer.frames.length} frames`;
    showFaceVerdict(item, track, answer.threshold, several);
    list.append(item);
  }
}

// a face of a frame, cut by the style alone
function cutFace(frame, [left, top, right, bottom], size) {
  const side = 1.3 * Math.max(right - left, bottom - top);
  const scale = size / side;
  const cut = document.createElement("span");
  cut.className = "cut";
  cut.style.cssText = `width: ${size}px; height: ${size}px`;
  const image = document.createElement("img");
  image.src = frame.picture;
  image.alt = "";
  image.style.cssText = `width: ${frame.width * scale}px; left: ${(side / 2 - (left + right) / 2) * scale}px; top: ${(side / 2 - (top + bottom) / 2) * scale}px`;
  cut.append(image);
  return cut;
}

function place(clip, seconds, width) {
  return PLOT.left + seconds / clip.end * (width - PLOT.left - PLOT.right);
}

function level(probability) {
  return PLOT.top + (1 - probability) * (PLOT.height - PLOT.top - PLOT.bottom);
}

function drawTimeline(clip) {
  const { slider, answer } = clip;
  const width = slider.clientWidth;
  if (!width || width === clip.width) {
    return;
  }
  clip.width = width;
  const svg = element("svg", { width, height: PLOT.height, "aria-hidden": "true" });
  for (const share of [0, 0.5, 1]) {
    svg.append(element("line", { class: "grid", x1: PLOT.left, x2: width - PLOT.right, y1: level(share), y2: level(share) }),
      element("text", { x: PLOT.left - 6, y: level(share) + 4, "text-anchor": "end" }, share));
  }
  const ticks = Math.min(5, answer.frames.length - 1);
  for (let tick = 0; tick <= ticks; tick += 1) {
    const seconds = ticks ? clip.end * tick / ticks : 0;
    const anchor = tick === 0 ? "start" : tick === ticks ? "end" : "middle";
    svg.append(element("text", { x: place(clip, seconds, width), y: PLOT.height - 6, "text-anchor": anchor }, `${seconds.toFixed(clip.end < 10 ? 1 : 0)} s`));
  }
  const limit = level(answer.threshold);
  svg.append(element("line", { class: "limit", x1: PLOT.left, x2: width - PLOT.right, y1: limit, y2: limit }),
    element("text", { x: width - PLOT.right, y: limit - 5, "text-anchor": "end" }, "fake from here on"));
  answer.tracks.forEach(track => drawPerson(clip, svg, track, width));
  clip.cursor = element("line", { class: "cursor", y1: 0, y2: PLOT.height - PLOT.bottom });
  svg.append(clip.cursor);
  slider.replaceChildren(svg, ...answer.tracks.map(track => strip(clip, track, width)));
  moveCursor(clip);
}

function drawPerson(clip, svg, track, width) {
  const order = new Map(clip.answer.frames.map((frame, at) => [frame.number, at]));
  const style = { stroke: colourOf(track.number), "stroke-dasharray": track.number ? "7 3" : "none" };
  let points = [], last = -2;
  const draw = () => points.length > 1 && svg.append(element("polyline", { points: points.join(" "), ...style }));
  for (const frame of track.frames) {
    // no line across frames in which the person is not seen
    if (order.get(frame.number) !== last + 1) {
      draw();
      points = [];
    }
    last = order.get(frame.number);
    const [x, y] = [place(clip, frame.seconds, width), level(frame.face.fake_probability)];
    points.push(`${x},${y}`);
    svg.append(element("circle", { cx: x, cy: y, r: 3, fill: colourOf(track.number) }));
  }
  draw();
}

// as many faces of a person as fit beside each other, each below its moment
function strip(clip, track, width) {
  const row = document.createElement("div");
  row.className = "strip";
  row.style.height = `${FACE + 4}px`;
  let free = 0;
  for (const { number, seconds, face } of track.frames) {
    const left = Math.min(Math.max(place(clip, seconds, width) - FACE / 2, 0), width - FACE);
    if (left >= free) {
      const cut = cutFace(clip.answer.frames.find(frame => frame.number === number), face.box, FACE);
      cut.style.left = `${left}px`;
      cut.style.borderBottomColor = colourOf(track.number);
      row.append(cut);
      free = left + FACE + 1;
    }
  }
  return row;
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  if (text !== undefined) {
    made.textContent = text;
  }
  return made;
}

function nearestFrame(clip, event) {
  const x = event.clientX - clip.slider.getBoundingClientRect().left;
  const apart = clip.answer.frames.map(frame => Math.abs(place(clip, frame.seconds, clip.width) - x));
  return apart.indexOf(Math.min(...apart));
}

function showFrame(clip, at) {
  const { entry, answer, slider } = clip;
  const frame = answer.frames[at];
  clip.at = at;
  const seen = clip.faces.filter(each => each.number === frame.number);
  const several = answer.tracks.length > 1;
  const people = seen.map(each => `${several ? `person ${each.track + 1} ` : ""}${inWords(each.face.fake_probability)}`);
  const words = `${frame.seconds.toFixed(2)} s: ${people.length ? `fake probability ${people.join(", ")}` : "no face"}`;
  entry.card.querySelector(".moment").textContent = words;
  slider.setAttribute("aria-valuenow", at);
  slider.setAttribute("aria-valuetext", words);
  entry.card.querySelector(".photo").src = frame.picture;
  drawBoxes(entry.card.querySelector(".boxes"), seen.map(each => ({
    box: each.face.box, kind: "", label: several ? each.track + 1 : "", colour: colourOf(each.track),
  })), frame.width, frame.height);
  moveCursor(clip);
}

function moveCursor(clip) {
  const x = place(clip, clip.answer.frames[clip.at].seconds, clip.width || 0);
  clip.cursor?.setAttribute("x1", x);
  clip.cursor?.setAttribute("x2", x);
}
