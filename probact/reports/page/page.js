// What a reader can do with the page as a whole: sort tables, copy commands, choose colours. Then its runs are shown.
"use strict";

const views = [];

// Tables: a click on a head sorts by that column, another the other way round; what is no number comes last.
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const key = (row) => { const text = row.cells[column].textContent.replace(/^no\. /, "").replace(/−/g, "-").replace(/,/g, ""); const number = parseFloat(text); return [Number.isNaN(number) ? null : number, text]; };
      const keyed = [...body.rows].map((row) => [key(row), row]);
      keyed.sort(([[a, s]], [[b, t]]) => (a === null || b === null ? (a === null) - (b === null) || s.localeCompare(t) * up : (a - b) * up));
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

function copyable(block) {
  const button = document.createElement("button"), text = block.textContent;
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { getSelection().selectAllChildren(block.querySelector("code")); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  block.append(button);
}

function theme() {
  const choice = document.getElementById("theme"), root = document.documentElement;
  const kept = { get() { try { return localStorage.getItem("probact-theme") || ""; } catch { return ""; } }, set(value) { try { localStorage.setItem("probact-theme", value); } catch { /* not from a file, in some browsers */ } } };
  const use = (value) => { if (value) root.dataset.theme = value; else delete root.dataset.theme; };
  choice.value = kept.get(); use(choice.value);
  choice.addEventListener("change", () => { use(choice.value); kept.set(choice.value); views.forEach((view) => view.draw()); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => views.forEach((view) => view.draw()));
  choice.parentElement.hidden = false;
}

theme();
document.querySelectorAll("[data-live]").forEach((part) => { part.hidden = false; });
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll(".code").forEach(copyable);
document.querySelectorAll("article[data-source]").forEach((root) => views.push(new RunView(root)));
