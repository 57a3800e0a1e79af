// Many results: their number by verdict, sorting, a filter, and a table to download.

const overview = document.getElementById("overview");
const sorting = document.getElementById("sorting");
const filter = document.getElementById("filter");
const GROUPS = ["fake", "real", "unsure", "no face", "not scored"];
// the most fake first
const RANKS = { fake: 0, unsure: 1, real: 2 };

function groupOf(answer) {
  return answer.verdict || (answer.error.startsWith("no face") ? "no face" : "not scored");
}

function showOverview() {
  const answered = batch.files.filter(entry => entry.answer);
  const counts = GROUPS.map(group => [answered.filter(entry => groupOf(entry.answer) === group).length, group]);
  document.getElementById("summary").textContent = counts.filter(([count]) => count)
    .map(([count, group]) => `${count} ${group === "unsure" ? "cannot say" : group}`).join(", ");
  overview.hidden = !answered.length;
  sort();
}

function sort() {
  const byName = (one, other) => one.name.localeCompare(other.name, undefined, { numeric: true });
  const rank = entry => entry.answer ? RANKS[entry.answer.verdict] ?? 3 : 4;
  const byFake = (one, other) => rank(one) - rank(other) || (other.answer?.fake_probability ?? 0) - (one.answer?.fake_probability ?? 0);
  const orders = { added: () => 0, fake: byFake, name: byName };
  const sorted = [...batch.files].sort(orders[sorting.value]);
  if (sorted.some((entry, at) => results.children[at] !== entry.card)) {
    // the focus would be lost
    const focused = document.activeElement;
    results.append(...sorted.map(entry => entry.card));
    focused.focus({ preventScroll: true });
  }
  for (const entry of batch.files) {
    entry.card.hidden = Boolean(filter.value && entry.answer && groupOf(entry.answer) !== filter.value);
  }
}

sorting.addEventListener("change", sort);
filter.addEventListener("change", sort);

// a spreadsheet takes some cells for formulas, and pandas some for missing: as deepfake-score writes them
function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const escaped = typeof value === "string" && /^([-=+@'#].*|n\/?a|nan|null|none|<na>)$/i.test(text) ? `'${text}` : text;
  return /[",\n]/.test(escaped) ? `"${escaped.replaceAll('"', '""')}"` : escaped;
}

const COLUMNS = [
  "path", "verdict", "fake_probability", "threshold", "doubt", "unlikeness", "warning", "error",
  "face", "frames", "left", "top", "right", "bottom", "pixels",
];

// a row for each face, or person of a clip; one for a file without
function rowsOf({ name, answer }) {
  const file = { ...answer, path: name, frames: "" };
  const faces = answer.tracks || answer.faces || [];
  return (faces.length ? faces : [null]).map((face, at) => {
    if (!face) {
      return file;
    }
    const { box, pixels } = face.frames ? face.frames[0].face : face;
    const [left, top, right, bottom] = box.map(Math.round);
    return {
      ...file, ...face, warning: face.warning || file.warning, face: at, frames: face.frames ? face.frames.length : 1,
      left, top, right, bottom, pixels: Math.round(pixels),
    };
  });
}

document.getElementById("download").addEventListener("click", () => {
  const rows = batch.files.filter(entry => entry.answer).flatMap(rowsOf);
  const lines = [COLUMNS, ...rows.map(row => COLUMNS.map(column => row[column]))];
  const text = lines.map(line => line.map(cell).join(",") + "\n").join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "scores.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
