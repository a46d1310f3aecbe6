// Finds the page for what stands behind '#', and ends the one before it.
import {get} from './api.js';
import {el, replace} from './dom.js';
import {jobsPage, workersPage} from './pages.js';
import {jobPage} from './job.js';
import {candidatePage, comparePage} from './candidate.js';

const main = document.getElementById('main');
const connection = document.getElementById('connection');
let leave = () => {};

function onConnection(up, why) {
  connection.classList.toggle('away', !up);
  const text = up ? why ?? 'live' : why || 'away';
  if (connection.textContent !== text) connection.textContent = text;
}

// Each page: (element, parameters, onConnection) -> what ends it.
const kRoutes = [
  [/^\/?$/, jobsPage, 'jobs', 'Jobs'],
  [/^\/workers$/, workersPage, 'workers', 'Workers'],
  [/^\/jobs\/([^/]+)$/, jobPage, 'jobs', 'Job'],
  [/^\/jobs\/([^/]+)\/candidates\/(\d+)$/, candidatePage, 'jobs', 'Candidate'],
  [/^\/jobs\/([^/]+)\/compare\/(\d+)\/(\d+)$/, comparePage, 'jobs', 'Comparison'],
];

function show() {
  leave();
  leave = () => {};
  const path = location.hash.slice(1) || '/';
  for (const [pattern, page, section, title] of kRoutes) {
    const match = pattern.exec(path);
    if (!match) continue;
    for (const link of document.querySelectorAll('nav a')) {
      link.toggleAttribute('aria-current', link.dataset.page === section);
      if (link.dataset.page === section) link.setAttribute('aria-current', 'page');
    }
    document.title = title + ' · Merganser';
    const view = el('div');
    replace(main, view);
    leave = page(view, match.slice(1).map(decodeURIComponent), onConnection) || (() => {});
    return;
  }
  replace(main, el('h1', {}, 'No such page'), el('p', {}, el('a', {href: '#/'}, 'All jobs')));
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();  // what stands behind '#' is the page
  main.focus();
});

window.addEventListener('hashchange', () => {
  show();
  window.scrollTo(0, 0);
  main.focus({preventScroll: true});
});
show();

get('server').then((server) => replace(document.getElementById('server'), `merganser ${server.version}, store ${server.store}`))
  .catch(() => {});  // the pages say what is wrong
