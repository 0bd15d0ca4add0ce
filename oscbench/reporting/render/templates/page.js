// Sorting, filtering and hints only: the page is complete without them.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.replaceAll("\u2212", "-");
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        // Numbers as numbers, those inside words among them: layer 2 before layer 10.
        const order = isNaN(x) || isNaN(y) ? String(x).localeCompare(String(y), "en", { numeric: true }) : x - y;
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
  if (table.tBodies[0].rows.length > 7) {
    const field = document.createElement("input");
    field.type = "search";
    field.className = "filter";
    field.placeholder = "Filter rows";
    field.setAttribute("aria-label", "Filter rows of this table");
    const count = document.createElement("output");
    count.className = "quiet";
    field.addEventListener("input", () => {
      let shown = 0;
      const words = field.value.toLowerCase().split(/\s+/);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.value = field.value.trim() ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
    });
    table.parentElement.before(field, count);
  }
}
// What a browser says of a point after a while (its title), said at once, and to a finger too.
const tip = document.createElement("p");
tip.className = "tip";
tip.hidden = true;
tip.ariaHidden = "true"; // the figure's own words say it to those who do not see
document.body.append(tip);
const HINTED = "svg :has(> title), svg [data-hint]";
const hide = () => { tip.hidden = true; };
// A finger covers more than a point: the nearest one under it is meant.
const nearest = (event) => {
  const points = [...event.currentTarget.querySelectorAll("use:has(> title), use[data-hint]")].map((one) => {
    const box = one.getBoundingClientRect();
    return [Math.hypot((box.left + box.right) / 2 - event.clientX, (box.top + box.bottom) / 2 - event.clientY), one];
  });
  const [away, one] = points.reduce((best, point) => (point[0] < best[0] ? point : best), [Infinity, undefined]);
  return away < 22 ? one : undefined;
};
const tell = (event) => {
  // A point before a line, wherever both are under the pointer.
  const found = document.elementsFromPoint(event.clientX, event.clientY).map((one) => one.closest(HINTED)).filter(Boolean);
  const near = event.pointerType === "touch" ? nearest(event) : undefined;
  const over = found.find((one) => one.localName === "use") ?? near ?? found[0];
  const title = over?.querySelector(":scope > title");
  if (title) {
    over.dataset.hint = title.textContent;
    title.remove();
  }
  tip.hidden = !over;
  if (!over) return;
  tip.textContent = over.dataset.hint;
  const [room, wide, high] = [12, tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.max(0, Math.min(event.clientX + room, innerWidth - wide - room))}px`;
  tip.style.top = `${event.clientY > high + 2 * room ? event.clientY - high - room : event.clientY + 2 * room}px`;
};
for (const figure of document.querySelectorAll("figure")) {
  figure.addEventListener("pointermove", tell);
  figure.addEventListener("pointerdown", tell);
  figure.addEventListener("pointerleave", hide);
}
document.addEventListener("scroll", hide, { capture: true, passive: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
