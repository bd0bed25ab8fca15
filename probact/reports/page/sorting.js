// Tables that sort: a click on a head, or Enter on it, sorts by that column, another the other way round.
"use strict";

const NUMBER = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?=$|[ %±])/i;
const STANDS_FOR = {best: 0, inf: Infinity, "-inf": -Infinity, diverged: Infinity};

// The number that a cell begins with, or null, and its text.
function sorts_by(cell) {
  const text = cell.textContent.trim().replace(/^no\. /, "").replace(/−/g, "-").replace(/(\d),(?=\d{3})/g, "$1");
  const found = NUMBER.exec(text);
  return [found ? parseFloat(found[1]) : STANDS_FOR[text] ?? null, text];
}

// What is no number comes last either way, ordered as text.
function before([a, s], [b, t], up) {
  if (a === null && b === null) return s.localeCompare(t, "en", {numeric: true}) * up;
  if (a === null || b === null) return (a === null) - (b === null);
  return a === b ? 0 : (a < b ? -1 : 1) * up;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  table.resort = () => {
    const column = heads.findIndex((head) => head.getAttribute("aria-sort") !== "none");
    if (column < 0) return;
    const up = heads[column].getAttribute("aria-sort") === "ascending" ? 1 : -1;
    const keyed = [...body.rows].map((row) => [sorts_by(row.cells[column]), row]);
    body.append(...keyed.sort(([a], [b]) => before(a, b, up)).map(([, row]) => row));
  };
  for (const head of heads) {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.setAttribute("aria-sort", other === head ? next : "none");
      table.resort();
    });
  }
}
