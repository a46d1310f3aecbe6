// Elements and texts. Whatever comes from a job (names, completions, errors) goes in as text, never as markup.

// el('td', {class: 'n', title: '...'}, 'text', child, [children]); 'onclick' and other on* are listeners.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  add(element, children);
  return element;
}

function add(element, child) {
  if (child === null || child === undefined || child === false) return;
  if (Array.isArray(child)) child.forEach((c) => add(element, c));
  else element.append(child instanceof Node ? child : String(child));
}

export function replace(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

let selectedAt = 0;
document.addEventListener('selectionchange', () => { selectedAt = Date.now(); });

// Whether somebody has just marked text in it, to copy it: to draw it again can wait.
export function marked(element) {
  const selection = getSelection();
  return Date.now() - selectedAt < 15000 && !selection.isCollapsed && element.contains(selection.anchorNode);
}

// replace() for what is drawn again while somebody uses it: who had the focus has it again, found by its data-key, link or value.
export function redraw(element, ...children) {
  const at = element.contains(document.activeElement) ? whereabouts(document.activeElement) : null;
  replace(element, ...children);
  if (at) element.querySelector(at)?.focus({preventScroll: true});
}

function whereabouts(element) {
  for (const name of ['data-key', 'href', 'value']) {
    const value = element.getAttribute(name);
    if (value) return `${element.localName}[${name}="${CSS.escape(value)}"]`;
  }
  return null;
}

// <details> whose content is made when somebody opens it: most stay closed.
export function details(title, make, open) {
  let made = false;
  const element = el('details', {open, ontoggle: () => { if (element.open) fill(); }}, el('summary', {}, title));
  const fill = () => { if (!made) add(element, make()); made = true; };
  if (open) fill();
  return element;
}

// Pictures and tables that the coordinator drew: the one markup that is taken as it is.
export function drawn(html, tag = 'div', attributes = {}) {
  const element = el(tag, attributes);
  element.innerHTML = html;
  return element;
}

export function announce(text) {
  document.getElementById('announce').textContent = text;
}

export const number = (n) => (n === null || n === undefined ? '–' : n.toLocaleString('en'));
export const fitness = (x) => (x === null || x === undefined ? '–' : x.toFixed(4));
export const percent = (x) => (x === null || x === undefined ? '–' : (100 * x).toFixed(1) + ' %');

// Metrics that are no shares, in a language or not.
const kNumbers = /^(.*perplexity|bits_per_byte|brier_score|log_likelihood|(bleu|chrf|chrf\+\+|ter)(_.*)?)$/;

// A metric's value and its interval for people: percent, if it is a share. What lies beyond 0 and 100 % is the normal
// approximation's; correlations, averages and a program's numbers (which have no samples) may be below 0.
export function metricTexts({metric, value, interval, samples}) {
  const name = metric.split('@')[0].split('.').pop();
  const share = value !== null && Math.abs(value) <= 1 && !kNumbers.test(name);
  const text = share ? percent : fitness;
  if (!interval) return [text(value), '–'];
  const least = value < 0 || samples === null || metric === 'average' || metric.endsWith('mcc') ? -1 : 0;
  const [low, high] = share ? [Math.max(least, interval[0]), Math.min(1, interval[1])] : interval;
  return [text(value), `${text(low)} to ${text(high)}`];
}

export const word = (state) => state.replaceAll('_', ' ');

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 1) return Math.round(seconds * 1000) + ' ms';
  if (seconds < 60) return seconds.toFixed(1) + ' s';
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, '0');
  if (s < 3600) return Math.floor(s / 60) + ' m ' + two(s % 60) + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + two(Math.floor(s / 60) % 60) + ' m';
  return Math.floor(s / 86400) + ' d ' + Math.floor(s / 3600) % 24 + ' h';
}

export function time(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const date = new Date(seconds * 1000);
  const text = date.toISOString();
  return el('time', {datetime: text, title: text}, date.toLocaleString('sv').slice(0, 19));
}

export const state = (s) => el('span', {class: 'state ' + s}, word(s));

export function progress(job) {
  if (!job.search_total) return number(job.search_finished) + ' done';
  const label = `${number(job.search_finished)} of ${number(job.search_total)} candidates`;
  return [el('progress', {max: job.search_total, value: job.search_finished, 'aria-label': label}), ' ',
          el('span', {class: 'dim count'}, `${number(job.search_finished)} / ${number(job.search_total)}`)];
}

export function tile(title, ...value) {
  return el('div', {class: 'tile'}, el('dt', {}, title), el('dd', {}, value));
}

// Buttons to the page before and after; `go(offset)`.
export function pager(offset, limit, total, go) {
  if (total <= limit) return el('p', {class: 'dim'}, `${number(total)} in all`);
  const last = Math.min(total, offset + limit);
  return el('p', {class: 'pager'},
    el('button', {type: 'button', 'data-key': 'previous', disabled: offset === 0, onclick: () => go(Math.max(0, offset - limit))}, 'Previous'), ' ',
    el('button', {type: 'button', 'data-key': 'next', disabled: last >= total, onclick: () => go(offset + limit)}, 'Next'), ' ',
    el('span', {class: 'dim'}, `${number(offset + 1)} to ${number(last)} of ${number(total)}`));
}
