// The list of jobs and the list of workers.
import {follow} from './api.js';
import {announce, duration, el, fitness, marked, number, progress, redraw, replace, state, tile, time} from './dom.js';

function overview(on, onConnection) { return follow(() => 'stream', on, onConnection); }

function fleetTiles(workers) {
  const count = (s) => workers.filter((w) => w.state === s).length;
  const connected = workers.filter((w) => w.state !== 'lost');
  const slots = connected.reduce((sum, w) => sum + w.slots, 0);
  const used = connected.reduce((sum, w) => sum + Math.min(w.slots, w.running.length), 0);
  return el('dl', {class: 'tiles'},
    tile('Workers', number(connected.length), ' ', el('small', {}, `${count('busy')} busy`)),
    tile('Slots in use', `${number(used)} / ${number(slots)}`),
    tile('Draining', number(count('draining'))),
    tile('Quarantined', number(count('quarantined'))),
    tile('Lost', number(count('lost'))));
}

export function jobsPage(view, _, onConnection) {
  const tiles = el('div'), list = el('div');
  replace(view, el('h1', {}, 'Jobs'), tiles, list);
  const states = new Map();
  return overview((update) => {
    redraw(tiles, fleetTiles(update.workers));
    if (!marked(list)) redraw(list, update.jobs.length === 0 ? noJobs() : jobsTable(update));
    for (const job of update.jobs) {
      if (states.has(job.id) && states.get(job.id) !== job.state) announce(`${job.name}: ${job.state}`);
      states.set(job.id, job.state);
    }
  }, onConnection);
}

function noJobs() {
  return el('p', {}, 'No job yet. ', el('code', {}, 'merganser submit job.yaml'), ' makes one.');
}

function jobsTable(update) {
  const row = (job) =>
      el('tr', {},
         el('th', {scope: 'row'}, el('a', {href: '#/jobs/' + encodeURIComponent(job.id)}, job.name),
            el('div', {class: 'dim'}, job.id)),
         el('td', {}, state(job.state), job.paused ? [' ', state('paused')] : null,
            job.waiting && !job.paused && job.running === 0 ? el('div', {class: 'dim'}, job.waiting) : null,
            job.state === 'damaged' ? el('div', {class: 'dim'}, job.message) : null),
         el('td', {class: 'n'}, job.best_fitness.length ? fitness(job.best_fitness[0]) : '–',
            job.best_candidate === null ? null : el('div', {class: 'dim spare'}, 'candidate ' + job.best_candidate)),
         el('td', {class: 'spare'}, job.objectives[0]),
         el('td', {}, progress(job), job.failed ? el('div', {class: 'dim'}, number(job.failed) + ' failed') : null),
         el('td', {class: 'n'}, job.over ? '–' : duration(job.left_seconds)),
         el('td', {class: 'n spare'}, duration((job.end_time ?? Date.now() / 1000) - job.create_time)),
         el('td', {class: 'spare'}, time(job.create_time)));
  const more = update.total > update.jobs.length
    ? el('p', {class: 'dim'}, `The newest ${update.jobs.length} of ${number(update.total)}; `, el('code', {}, 'merganser jobs'), ' lists all.') : null;
  return [el('div', {class: 'scroll'}, el('table', {class: 'wide'},
    el('thead', {}, el('tr', {}, ['Job', 'State'].map((h) => el('th', {scope: 'col'}, h)), el('th', {scope: 'col', class: 'n'}, 'Best'),
      el('th', {scope: 'col', class: 'spare'}, 'Objective'), el('th', {scope: 'col'}, 'Progress'), el('th', {scope: 'col', class: 'n'}, 'Left'),
      el('th', {scope: 'col', class: 'n spare'}, 'Took'), el('th', {scope: 'col', class: 'spare'}, 'Started'))),
    el('tbody', {}, update.jobs.map(row)))), more];
}

export function workersPage(view, _, onConnection) {
  const tiles = el('div'), list = el('div');
  replace(view, el('h1', {}, 'Workers'), tiles, list);
  return overview((update) => {
    redraw(tiles, fleetTiles(update.workers));
    if (!marked(list)) redraw(list, update.workers.length === 0 ? noWorkers() : workersTable(update.workers));
  }, onConnection);
}

function noWorkers() {
  return el('p', {}, 'No worker is connected. ', el('code', {}, 'merganser-worker --coordinator HOST:PORT'), ' adds one.');
}

function workersTable(workers) {
  const attempt = (a) => el('div', {},
    el('a', {href: `#/jobs/${encodeURIComponent(a.job)}/candidates/${a.candidate}`}, `${a.job} / ${a.candidate}`), ' ',
    el('span', {class: 'dim'}, a.phase));
  const row = (w) => el('tr', {},
    el('th', {scope: 'row'}, w.name || w.id, w.name && w.name !== w.id ? el('div', {class: 'dim'}, w.id) : null),
    el('td', {}, state(w.state), w.quarantine ? el('div', {class: 'dim'}, w.quarantine) : null), el('td', {}, w.device),
    el('td', {}, w.running.length && w.state !== 'lost' ? w.running.map(attempt) : '–'),
    el('td', {class: 'n'}, number(w.finished)), el('td', {class: 'n'}, number(w.failed)), el('td', {class: 'spare'}, time(w.connect_time)),
    el('td', {class: 'n'}, w.last_heartbeat_time === null ? '–' : `${duration(Math.max(0, Date.now() / 1000 - w.last_heartbeat_time))} ago`), el('td', {class: 'spare'}, w.version));
  return el('div', {class: 'scroll'}, el('table', {class: 'wide'},
    el('thead', {}, el('tr', {}, ['Worker', 'State', 'Device', 'Runs'].map((h) => el('th', {scope: 'col'}, h)),
      ['Finished', 'Failed'].map((h) => el('th', {scope: 'col', class: 'n'}, h)), el('th', {scope: 'col', class: 'spare'}, 'Connected'),
      el('th', {scope: 'col', class: 'n'}, 'Heartbeat'), el('th', {scope: 'col', class: 'spare'}, 'Version'))),
    el('tbody', {}, workers.map(row))));
}
