// Evaluated in the page; each function returns complaints.
(() => {
  const complaints = [];
  const title = (svg) => svg.getAttribute('aria-label');
  const box = (element) => element.getBoundingClientRect();
  const outside = (a, b) =>
    a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
  const overlap = (a, b) =>
    a.left < b.right - 0.5 && b.left < a.right - 0.5 && a.top < b.bottom - 1 && b.top < a.bottom - 1;

  for (const details of document.querySelectorAll('details')) details.open = true;
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
    complaints.push('the page scrolls sideways');
  }
  for (const table of document.querySelectorAll('table.sortable')) {
    const isWide = (cell) => getComputedStyle(cell).position === 'sticky'
      && box(cell).width > box(table.parentElement).width / 2;
    const fixed = [...table.rows].map((row) => row.cells[0]).find(isWide);
    if (fixed) complaints.push(`"${fixed.textContent}" leaves no room to scroll its table`);
  }
  const plots = [...document.querySelectorAll('svg')];
  if (plots.length < 10) complaints.push(`only ${plots.length} plots`);
  for (const svg of plots) {
    const own = box(svg);
    if (own.width < 200 || own.height < 40) complaints.push(`${title(svg)}: is too small`);
    const texts = [...svg.querySelectorAll('text')];
    if (texts.length === 0) complaints.push(`${title(svg)}: has no text`);
    for (const text of texts) {
      if (outside(box(text), own)) complaints.push(`${title(svg)}: "${text.textContent}" is clipped`);
      if (text.textContent.includes('NaN')) complaints.push(`${title(svg)}: says ${text.textContent}`);
    }
    texts.forEach((a, index) => texts.slice(index + 1).forEach((b) => {
      if (overlap(box(a), box(b))) {
        complaints.push(`${title(svg)}: "${a.textContent}" and "${b.textContent}" overlap`);
      }
    }));
    const groups = [...svg.querySelectorAll('g[data-variant]')];
    if (groups.length === 0) complaints.push(`${title(svg)}: has no variant`);
    for (const group of groups) {
      const shapes = [...group.querySelectorAll('polyline, line, circle, polygon, rect')];
      const name = `${title(svg)}: ${group.querySelector('title').textContent}`;
      if (shapes.length === 0) complaints.push(`${name}: nothing is drawn`);
      if (shapes.some((shape) => outside(box(shape), own))) complaints.push(`${name}: leaves its box`);
      const colour = getComputedStyle(shapes.at(-1) ?? group);
      if ([colour.stroke, colour.fill].every((c) => c === 'none')) complaints.push(`${name}: no colour`);
    }
  }
  return complaints;
})()
