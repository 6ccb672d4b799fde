"use strict";
// Sorting, filtering, and which curves are drawn. Without it the page shows everything.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const number = head.dataset.type === "number";
      const descending = head.getAttribute("aria-sort")
        ? head.getAttribute("aria-sort") === "ascending"
        : number && head.dataset.first !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, number, descending);
    });
  });
}

function sort(table, column, number, descending) {
  const rows = [...table.tBodies].flatMap((body) => [...body.rows].map((row) => [row, body.dataset.dataset]));
  const value = ([row]) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return number ? (text === "" || text === "-" ? null : Number(text)) : text;
  };
  rows.sort((one, two) => {
    const a = value(one), b = value(two);
    if (a === null || b === null) return (a === null) - (b === null); // unknown ones last
    const order = number ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return descending ? -order : order;
  });
  // sorted rows of several data sets stand in one body, each still knowing its own
  const body = table.tBodies[0];
  for (const [row, dataset] of rows) {
    row.dataset.dataset ??= dataset;
    row.classList.remove("first");
    body.append(row);
  }
}

const form = document.querySelector(".filters");
if (form) {
  const rows = [...document.querySelectorAll(".board tbody tr")];
  for (const row of rows) row.dataset.dataset = row.closest("tbody").dataset.dataset;
  const chosen = {};
  const fits = {
    "": () => true,
    ok: (row) => row.dataset.status === "ok" && row.dataset.kind === "model",
    cut: (row) => row.dataset.standing === "cut",
    tied: (row) => ["leader", "tied"].includes(row.dataset.standing),
    unfinished: (row) => ["unfinished", "failed", "skipped", "partial"].includes(row.dataset.status),
    sanity: (row) => row.dataset.kind === "sanity",
    published: (row) => row.dataset.kind === "published",
  };
  const apply = () => {
    for (const select of form.querySelectorAll("select")) chosen[select.dataset.filter] = select.value;
    let shown = 0;
    for (const row of rows) {
      const keep = (!chosen.dataset || row.dataset.dataset === chosen.dataset)
        && (!chosen.model || row.dataset.model === chosen.model)
        && fits[chosen.status ?? ""](row);
      row.hidden = !keep;
      shown += keep;
    }
    form.querySelector("[data-count]").textContent = `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

for (const legend of document.querySelectorAll("[data-legend]")) {
  const block = legend.closest("details");
  const draw = () => {
    for (const box of legend.querySelectorAll("input")) {
      for (const drawn of block.querySelectorAll(`[data-series="${box.value}"]`)) {
        if (drawn instanceof SVGElement) drawn.style.display = box.checked ? "" : "none";
        else drawn.hidden = !box.checked;
      }
    }
  };
  legend.addEventListener("change", draw);
  draw();
}

// a link into a closed part opens it; paper shows everything
const reveal = () => {
  if (!/^#[\w-]+$/.test(location.hash)) return;
  const target = document.querySelector(location.hash);
  const closed = target?.closest("details") ?? target?.querySelector("details");
  if (closed && target.tagName === "DETAILS") closed.open = true;
};
addEventListener("hashchange", reveal);
reveal();
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const one of opened) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of opened) one.open = false;
});
