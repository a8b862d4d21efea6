"use strict";
// Sorts and filters tables. Without it, the page is complete, and tables are in the order they were written in.
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort ?? cell.textContent.trim().toLowerCase();
  };

  const sort = (table, column, head) => {
    const upwards = head.getAttribute("aria-sort") !== "ascending";
    const numeric = head.classList.contains("number");
    const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, key: value(row, column) }));
    rows.sort((one, two) => {
      const order = numeric
        ? Number(one.key) - Number(two.key)
        : one.key < two.key ? -1 : one.key > two.key ? 1 : 0;
      return (upwards ? order : -order) || one.place - two.place;
    });
    for (const other of table.tHead.rows[0].cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
    table.tBodies[0].append(...rows.map(({ row }) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.classList.contains("fixed")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, column, head));
    });
  }

  const input = document.getElementById("filter");
  if (input) {
    const status = document.getElementById("filter-status");
    const parts = [...document.querySelectorAll("details.part")];
    const opened = new Map(parts.map((part) => [part, part.open]));
    input.closest(".filter").hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0, all = 0;
      for (const part of parts) {
        let here = 0;
        for (const row of part.querySelector("tbody").rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = !words.every((word) => text.includes(word));
          all += 1;
          here += row.hidden ? 0 : 1;
        }
        shown += here;
        part.hidden = here === 0;
        part.open = words.length ? here > 0 : opened.get(part);
      }
      status.textContent = words.length ? `${shown} of ${all} packages` : "";
    });
  }

  // What is folded away on a screen cannot be unfolded on paper. What is there twice stays folded.
  const folded = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open], .layers details)")) {
      folded.push(details);
      details.open = true;
    }
  });
  addEventListener("afterprint", () => {
    for (const details of folded.splice(0)) details.open = false;
  });
})();
