// What a reader can do with the page as a whole: copy commands, choose colours, sort tables. Then its runs are shown.
"use strict";

const views = [];

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
