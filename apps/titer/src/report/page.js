for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows];
  const key = (row, at) => row.cells[at].dataset.sort ?? row.cells[at].textContent;
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const compare = (a, b) => key(a, at).localeCompare(key(b, at), "en", { numeric: true });
      const number = (row) => parseFloat(row.cells[at].dataset.sort);
      const numbers = rows.some((row) => row.cells[at].dataset.sort !== undefined);
      const last = (row) => numbers && isNaN(number(row));
      body.append(...[...rows].sort((a, b) => last(a) - last(b)
        || (up ? 1 : -1) * (numbers && !last(a) ? number(a) - number(b) : compare(a, b))));
    });
  });
  const filter = document.createElement("input");
  filter.type = "search";
  filter.placeholder = "only lines with …";
  filter.setAttribute("aria-label", "Only lines of this table that contain");
  filter.className = "filter";
  table.parentElement.before(filter);
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(words);
  });
}
