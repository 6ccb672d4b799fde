"use strict";
// Hands files over one after the other and shows the answers. Names are put in as text only.
const main = document.querySelector("main");
const zone = document.querySelector(".drop");
const chooser = zone.querySelector("input");
const results = document.querySelector(".results");
const told = document.querySelector("[role=status]");
const mostBytes = Number(main.dataset.bytes);

// heat maps wait until everything is classified, since they take longer
const toClassify = [], toExplain = [];
let busy = false;

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

// .912, as everywhere in MedBench
const score = (value) => value.toFixed(3).replace(/^0/, "");

function take(files) {
  for (const file of files) {
    const card = make("article", "", "card result waiting");
    const upload = { file, card, slice: null, slices: null };
    results.prepend(card);
    enqueue(upload);
  }
}

function enqueue(upload) {
  upload.figure = null;
  const explaining = toExplain.indexOf(upload); // of another slice
  if (explaining >= 0) toExplain.splice(explaining, 1);
  show(upload, [make("p", "Waiting for its turn…", "faint")], "waiting");
  toClassify.push(upload);
  work();
}

async function work() {
  if (busy) return;
  busy = true;
  results.ariaBusy = "true";
  while (toClassify.length || toExplain.length) {
    if (toClassify.length) await classify(toClassify.shift());
    else await explain(toExplain.shift());
  }
  busy = false;
  results.ariaBusy = "false";
}

async function ask(address, upload) {
  const { file, slice } = upload;
  if (file.size > mostBytes) return { error: `It is above the limit of ${mostBytes / 1e6} MB. Shrink or crop it.` };
  let body;
  try {
    body = await file.arrayBuffer();
  } catch {
    return { error: "The browser cannot read it. Is it a folder, or was it moved?" };
  }
  const headers = { "X-MedBench": "1", "X-MedBench-Name": encodeURIComponent(file.name) };
  if (slice) headers["X-MedBench-Slice"] = String(slice);
  try {
    const response = await fetch(address, { method: "POST", headers, body });
    return await response.json();
  } catch {
    return { error: "MedBench does not answer. Was it stopped in the terminal?" };
  }
}

async function classify(upload) {
  show(upload, [make("p", "Classifying…", "faint")], "waiting");
  const answer = await ask("classify", upload);
  upload.slices = answer.slices ?? upload.slices;
  upload.shown = answer.shown;
  if (answer.error) {
    const asks = answer.slices && !upload.slice; // no failure, but a question
    show(upload, [make("p", answer.error, asks ? "" : "error")], asks ? "" : "failed");
    told.textContent = `${upload.file.name}: ${answer.error}`;
    return;
  }
  const decided = [answer.decision].flat();
  const words = decided.join(", ") || "none of the classes";
  const decision = make("p", "Decision: ", "decision");
  decision.append(make("strong", words));
  upload.figure = make("figure");
  upload.figure.append(make("figcaption", "Looking for what speaks for it…"));
  const warnings = doubts(answer.warnings);
  show(upload, [decision, ...warnings, table(answer, decided), ...unlikeness(answer), upload.figure]);
  told.textContent = `${upload.file.name}: ${words}`;
  toExplain.push(upload);
}

async function explain(upload) {
  const figure = upload.figure;
  const answer = await ask("explain", upload);
  if (upload.figure !== figure) return; // another slice was asked for meanwhile
  if (answer.error) {
    figure.replaceChildren(make("figcaption", `No heat map: ${answer.error}`));
    return;
  }
  const picture = make("img");
  picture.src = answer.picture;
  picture.alt = `The image beside its heat map: where it speaks for ${answer.class}`;
  figure.replaceChildren(picture, make("figcaption", `What speaks for ${answer.class} (${answer.method}).`));
}

function show(upload, content, state = "") {
  const number = upload.slice ? `slice ${upload.slice} of ${upload.slices}` : "";
  const shown = number && (upload.shown ?? "slice").startsWith("slice") ? number : upload.shown;
  const focused = upload.card.contains(document.activeElement);
  upload.card.className = `card result ${state}`;
  upload.card.replaceChildren(make("h2", [upload.file.name, shown].filter(Boolean).join(", ")), ...content);
  if (state === "waiting" || !upload.slices) return;
  const form = slices(upload);
  upload.card.append(form);
  if (focused) form.querySelector("input").focus();
}

function table(answer, decided) {
  const whole = make("table");
  const thresholds = answer.operating_point.thresholds;
  const head = whole.createTHead().insertRow();
  for (const title of ["class", "probability"]) {
    const cell = make("th", title);
    cell.scope = "col";
    head.append(cell);
  }
  const body = whole.createTBody();
  const rows = Object.entries(answer.probabilities);
  if (!main.dataset.ordinal) rows.sort(([, one], [, other]) => other - one);
  for (const [name, probability] of rows) {
    const [low, high] = answer.spread_over_folds[name];
    const row = body.insertRow();
    row.className = decided.includes(name) ? "decided" : "";
    const title = make("th", name);
    title.scope = "row";
    const cell = make("td");
    cell.append(make("span", score(probability), "number"));
    if (main.dataset.several) cell.append(" ", make("small", `(${score(low)} to ${score(high)})`));
    if (Object.hasOwn(thresholds, name)) cell.append(" ", make("small", `decided from ${score(thresholds[name])} on`));
    const bar = make("div", "", "share");
    for (const [part, share] of Object.entries({ mean: probability, low, high })) bar.style.setProperty(`--${part}`, share);
    cell.append(bar);
    row.append(title, cell);
  }
  return whole;
}

function doubts(warnings) {
  if (!warnings.length) return [];
  const list = make("ul", "", "doubts");
  for (const warning of warnings) list.append(make("li", `This image is ${warning}.`));
  return [list];
}

function unlikeness({ ood_score: value }) {
  if (value === null) return [];
  return [make("p", `Out-of-distribution score ${value.toFixed(2)}: above 1 lie 1% of the images that the model was developed on.`, "faint")];
}

function slices(upload) {
  const form = make("form", "", "slice");
  const label = make("label", `Slice, from 1 to ${upload.slices} `);
  const number = make("input");
  Object.assign(number, { type: "number", min: 1, max: upload.slices, required: true });
  number.value = upload.slice ?? Math.ceil(upload.slices / 2);
  label.append(number);
  form.append(label, make("button", "Classify this slice"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    upload.slice = number.valueAsNumber;
    delete upload.shown;
    enqueue(upload);
  });
  return form;
}

chooser.addEventListener("change", () => {
  take([...chooser.files]);
  chooser.value = ""; // so that the same file may be chosen again
});
// a file dropped beside the zone is meant for it too, and must not replace the page
addEventListener("dragover", (event) => {
  event.preventDefault();
  zone.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) zone.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  zone.classList.remove("over");
  take([...event.dataTransfer.files]);
});
