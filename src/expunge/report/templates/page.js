"use strict";

function valueOf(row, column, isNumber) {
  const text = row.cells[column].textContent.trim();
  return isNumber ? parseFloat(text) : text;
}

function compareRows(column, isNumber, direction) {
  return (one, other) => {
    const [a, b] = [valueOf(one, column, isNumber), valueOf(other, column, isNumber)];
    if (!isNumber) return direction * a.localeCompare(b, undefined, { numeric: true });
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return direction * (a - b);
  };
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort(compareRows(column, heading.dataset.kind === "number", ascending ? 1 : -1));
      table.tBodies[0].append(...rows);
    });
  });
}

function makeFilterable(controls) {
  const rows = [...document.getElementById(controls.dataset.for).tBodies[0].rows];
  const words = controls.querySelector("[data-filter=text]");
  const goal = controls.querySelector("[data-filter=goal]");
  const status = controls.querySelector("[role=status]");
  const apply = () => {
    const wanted = words.value.trim().toLowerCase();
    for (const row of rows) {
      const found = row.textContent.toLowerCase().includes(wanted);
      row.hidden = !found || (goal.value !== "" && row.dataset.goal !== goal.value);
    }
    status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  };
  words.addEventListener("input", apply);
  goal.addEventListener("change", apply);
  controls.hidden = false;
  apply();
}

document.querySelectorAll("table[data-sortable]").forEach(makeSortable);
document.querySelectorAll(".controls").forEach(makeFilterable);
