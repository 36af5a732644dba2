'use strict';

// A variant's box switches all that belongs to it: curves, bars and rows.
for (const box of document.querySelectorAll('[data-switches]')) {
  const apply = () => {
    for (const part of document.querySelectorAll(`[data-variant="${box.dataset.switches}"]`)) {
      part.classList.toggle('off', !box.checked);
    }
  };
  box.addEventListener('change', apply);
  // Browsers remember boxes when a page is loaded again.
  apply();
}

// Numbers sort as numbers, the rest as text; what has no number comes last.
const compare = (a, b, sign) => {
  const [x, y] = [a, b].map((cell) => cell.dataset.value);
  if (a.classList.contains('n') || b.classList.contains('n')) {
    if (x === undefined || y === undefined) {
      return (x === undefined) - (y === undefined);
    }
    return sign * (Number(x) - Number(y));
  }
  return sign * a.textContent.localeCompare(b.textContent, 'en', { numeric: true });
};

for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.querySelectorAll('thead th')];
  heads.forEach((head, column) => {
    head.querySelector('button').addEventListener('click', () => {
      const descending = head.getAttribute('aria-sort') === 'ascending';
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
      const body = table.tBodies[0];
      const rows = [...body.rows];
      rows.sort((a, b) => compare(a.cells[column], b.cells[column], descending ? -1 : 1));
      body.append(...rows);
    });
  });
}
