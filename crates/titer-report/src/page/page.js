// All of this page can be read without: what follows sorts and filters the tables of defences, and hides lines.
const owned = [...document.querySelectorAll("[data-defence]")];
const names = [...new Set(owned.map((element) => element.dataset.defence))];
const off = new Set();
let words = [];

const wanted = (name) => !words.length || words.some((word) => name.toLowerCase().includes(word));

function show() {
  for (const element of owned) {
    const name = element.dataset.defence;
    const hidden = !wanted(name) || (element instanceof SVGElement && off.has(name));
    element.toggleAttribute("hidden", hidden);
  }
}

// A field that leaves only some defences, in every table and figure.
const tools = document.createElement("div");
tools.className = "tools";
tools.setAttribute("role", "search");
const label = document.createElement("label");
label.append("Defences ");
const field = document.createElement("input");
field.type = "search";
field.placeholder = "all; or names, with commas";
label.append(field);
const count = document.createElement("output");
count.setAttribute("aria-live", "polite");
tools.append(label, count);
field.addEventListener("input", () => {
  words = field.value.toLowerCase().split(",").map((word) => word.trim()).filter(Boolean);
  const left = names.filter(wanted).length;
  count.textContent = words.length ? `${left} of ${names.length}` : "";
  show();
});
document.querySelector("nav").after(tools);

// A click on a column's head sorts by it, and the next one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.querySelectorAll(".heads > th")];
  const key = (row, at) => row.cells[at].dataset.sort ?? row.cells[at].textContent;
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const number = (row) => parseFloat(row.cells[at].dataset.sort);
      const numbers = rows.some((row) => !isNaN(number(row)));
      const last = (row) => numbers && isNaN(number(row));
      const compare = (a, b) => numbers && !last(a)
        ? number(a) - number(b)
        : key(a, at).localeCompare(key(b, at), "en", { numeric: true });
      body.append(...[...rows].sort((a, b) => last(a) - last(b) || (up ? 1 : -1) * compare(a, b)));
    });
  });
}

// A legend's entry hides its defence's lines in all figures.
const entries = [...document.querySelectorAll(".legend li")].map((entry) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...entry.childNodes);
  button.setAttribute("aria-pressed", "true");
  button.title = "Hide or show its lines";
  entry.append(button);
  return { name: entry.dataset.name, button };
});
for (const { name, button } of entries) {
  button.addEventListener("click", () => {
    if (!off.delete(name)) off.add(name);
    for (const other of entries) {
      if (other.name === name) other.button.setAttribute("aria-pressed", String(!off.has(name)));
    }
    show();
  });
}

// On paper nothing can be opened. (Newer browsers do this by the style sheet.)
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    closed.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) details.open = false;
});
