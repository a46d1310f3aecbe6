// One job: how far it is, fitness over candidates, the best recipe, held-out scores, the Pareto front, its candidates and events.
import {follow, get, getText, passing, post, query} from './api.js';
import {announce, details, drawn, duration, el, fitness, marked, metricTexts, number, pager, redraw, replace, state, tile, time, word} from './dom.js';

const kRefresh = 2000;  // ms between redraws of what is costly, while the job runs
const kRows = 25;
const kEvents = 50;
const kNarrow = 600;    // px: a chart below that has its labels inside

const section = (title, ...content) => {
  const id = title.toLowerCase().replaceAll(' ', '-');
  return el('section', {'aria-labelledby': id}, el('h2', {id}, title), content);
};

export function jobPage(view, [id], onConnection) {
  const parts = Object.fromEntries(
    ['head', 'chart', 'recipe', 'heldOut', 'front', 'table', 'events', 'settings', 'failures'].map((name) => [name, el('div')]));
  replace(view, parts.head, parts.failures, section('Fitness', parts.chart), section('Best recipe', parts.recipe), parts.heldOut, parts.front,
    section('Candidates', parts.table), section('Events', parts.events), section('Settings', parts.settings));
  replace(parts.head, el('p', {class: 'dim'}, 'Loading …'));
  const path = 'jobs/' + encodeURIComponent(id);
  const chart = fitnessChart(parts.chart, id);
  const table = candidateTable(parts.table, id);
  const events = eventList(parts.events, path, id);
  let job = null, best = null, bestBy = '', ended = false, timer = null, drawnSeq = -1, mayChange = true;

  async function refresh() {
    try {
      // All at once: what one needs of another waits for it when it is drawn.
      const points = chart.ask(path), rows = job ? null : table.ask(), winner = best === null ? get(path + '/candidates/best') : null;
      for (const answer of [points, rows, winner]) answer?.catch(() => {});  // who waits for it hears of it
      const [about, server] = await Promise.all([get(path), job ? null : get('server')]);
      if (ended) return;
      const first = job === null;
      if (first) mayChange = server.may_change;
      job = about.job;
      bestBy = about.best_by;
      head(parts.head, job, id, bestBy, mayChange);
      if (first) {
        document.title = job.name + ' · Merganser';
        chart.start(job);
        replace(parts.settings, settings(about));
      }
      replace(parts.heldOut, heldOut(about.held_out));
      replace(parts.failures, failures(about.failures, parts.failures.querySelector('details')?.open));
      await Promise.all([chart.draw(about, points), table.start(job, rows), bestRecipe(winner), paretoFront(about)]);
      drawnSeq = about.job.seq;
    } catch (error) {
      if (ended) return;
      const what = [el('h1', {}, id), el('p', {class: 'error', role: 'alert'}, error.message, passing(error) ? '; trying again' : '')];
      if (passing(error)) {
        if (job === null) replace(parts.head, what);
        timer ??= setTimeout(() => { timer = null; refresh(); }, kRefresh);
      } else if (job === null) {
        replace(view, what, el('p', {}, el('a', {href: '#/'}, 'All jobs')));
      }
    }
  }

  async function bestRecipe(asked) {
    if (job.best_candidate === null) return replace(parts.recipe, el('p', {class: 'dim'}, 'No candidate has a fitness yet.'));
    if (best === job.best_candidate) return;
    const {candidate} = await (asked ?? get(path + '/candidates/best'));
    if (!candidate) return;  // the next look has it
    best = candidate.number;
    if (!ended) replace(parts.recipe, recipe(id, candidate));
  }

  async function paretoFront(about) {
    if (job.objectives.length < 2) return;
    const svg = await getText(path + '/pareto.svg');
    if (ended) return;
    const row = (r) => el('tr', {}, el('th', {scope: 'row', class: 'n'}, candidateLink(id, r.number)),
      r.fitness.map((x) => el('td', {class: 'n'}, fitness(x))));
    const rows = () => el('table', {}, el('thead', {}, el('tr', {}, el('th', {scope: 'col', class: 'n'}, 'Candidate'),
      job.objectives.map((o) => el('th', {scope: 'col', class: 'n'}, o)))), el('tbody', {}, about.front.map(row)));
    const open = parts.front.querySelector('details')?.open;
    replace(parts.front, section('Pareto front',
      el('p', {class: 'dim'}, `${number(about.front_size)} candidates that no other beats in every objective`, frontVolume(id, about.front_volume)),
      drawn(svg, 'div', {class: 'scroll'}), details('The front as a table', () => el('div', {class: 'scroll'}, rows()), open)));
  }

  // Redraws soon, unless what is drawn is the newest; what comes meanwhile is drawn after it.
  function schedule() {
    if (!job || job.seq === drawnSeq || timer !== null) return;
    timer = setTimeout(async () => {
      await refresh();
      if (!marked(parts.table)) await table.refresh().catch(() => {});
      timer = null;
      schedule();
    }, kRefresh);
  }

  const stop = follow(() => 'stream?' + query({job: id, after: events.newest()}), (update) => {
    if (ended) return;
    if (job && job.state !== update.job.state) announce(`${update.job.name}: ${word(update.job.state)}`);
    if (job) {
      job = update.job;
      head(parts.head, job, id, bestBy, mayChange);
    }
    events.add(update.events);
    schedule();
  }, onConnection);
  refresh();
  return () => {
    ended = true;
    clearTimeout(timer);
    stop();
    chart.end();
  };
}

export const candidateLink = (job, n, text) => el('a', {href: `#/jobs/${encodeURIComponent(job)}/candidates/${n}`}, text ?? n);

function head(part, job, id, bestBy, mayChange) {
  if (part.querySelector('dialog')?.open || marked(part)) return;  // somebody is answering it, or copies from it
  const cancel = el('button', {type: 'button', class: 'danger', 'data-key': 'cancel', onclick: () => confirmCancel(part, job)}, 'Cancel job …');
  const pause = el('button', {type: 'button', 'data-key': 'pause', onclick: () => togglePause(part, job)}, canResume(job) ? 'Resume' : 'Pause');
  const took = (job.end_time ?? Date.now() / 1000) - job.create_time;
  redraw(part,
    el('p', {class: 'crumbs'}, el('a', {href: '#/'}, 'Jobs'), ' / ', job.id),
    el('h1', {}, job.name, ' ', state(job.state), job.paused ? [' ', state('paused')] : null),
    job.over ? null : el('p', {class: 'waiting dim'}, waiting(job)),
    job.message ? el('p', {class: ['failed', 'damaged'].includes(job.state) ? 'error' : 'dim'}, job.message) : null,
    job.search_total ? el('progress', {class: 'wide', max: job.search_total, value: job.search_finished, 'aria-label': 'search progress'}) : null,
    el('dl', {class: 'tiles'},
      tile('Best ' + (bestBy ? `of the finalists, ${bestBy}` : job.objectives.join(', ')), job.best_fitness.map(fitness).join(', ') || '–', ' ',
        job.best_candidate === null ? null : el('small', {}, candidateLink(id, job.best_candidate, 'candidate ' + job.best_candidate))),
      tile('Search', number(job.search_finished), ' ', job.search_total ? el('small', {}, 'of ' + number(job.search_total)) : null),
      tile('Generation', job.population ? number(job.generation + 1) : '–', ' ', el('small', {}, job.population ? `${job.population} candidates each` : '')),
      tile('Now', `${number(job.running)} `, el('small', {}, `running, ${number(job.queued)} queued`)),
      tile('Failed', number(job.failed)),
      job.over ? tile('Took', duration(took))
        : tile('Left', duration(job.left_seconds), ' ', el('small', {}, 'after ' + duration(took))),
      tile('Time per candidate', timePerCandidate(job))),
    job.over && job.state !== 'failed' ? null
      : mayChange ? el('p', {class: 'actions'}, pause, ' ', job.over || job.state === 'damaged' ? null : cancel, ' ', el('span', {class: 'error', role: 'alert'}))
      : el('p', {class: 'dim'}, 'Your token may look; to pause or cancel takes one of role submitter.'));
}

// Why candidates wait, and what helps.
function waiting(job) {
  if (!job.waiting || job.paused) return '';
  const nobody = job.waiting === 'no worker is connected';
  return [el('span', {class: nobody ? 'error' : null}, 'Candidates wait: ' + job.waiting), nobody ? ['. ', el('code', {}, 'merganser-worker --coordinator HOST:PORT'), ' adds one.'] : ''];
}

function frontVolume(id, volume) {
  if (!volume || volume.value === null) return '.';
  const above = Object.entries(volume.reference).map(([o, x]) => `${o} ${Number(x.toPrecision(4))}`).join(', ');
  return [`; hypervolume ${volume.value.toPrecision(4)} above ${above}. `, el('code', {}, 'merganser describe ' + id), ' says how sure that is.'];
}

function timePerCandidate(job) {
  const total = Object.values(job.timings).reduce((a, b) => a + b, 0);
  if (!job.succeeded || !total) return '–';
  const parts = Object.entries(job.timings).sort((a, b) => b[1] - a[1]).slice(0, 2).map(([p, s]) => `${p} ${Math.round(100 * s / total)} %`);
  return [duration(total / job.succeeded), ' ', el('small', {}, parts.join(', '))];
}

// A failed job is tried again.
const canResume = (job) => job.paused || ['failed', 'damaged'].includes(job.state);

async function togglePause(part, job) {
  try {
    await post(`jobs/${encodeURIComponent(job.id)}/${canResume(job) ? 'resume' : 'pause'}`);
  } catch (e) { part.querySelector('.actions .error').textContent = e.message; }
}

function confirmCancel(part, job) {
  const error = el('p', {class: 'error', role: 'alert'});
  const dialog = el('dialog', {'aria-labelledby': 'cancel-title'},
    el('h2', {id: 'cancel-title'}, `Cancel ${job.name}?`),
    el('p', {}, 'What is finished stays; queued and running candidates end. A cancelled job cannot go on.'), error,
    el('p', {}, el('button', {type: 'button', class: 'danger', onclick: async () => {
      try {
        await post(`jobs/${encodeURIComponent(job.id)}/cancel`);
        dialog.close();
      } catch (e) { error.textContent = e.message; }
    }}, 'Cancel the job'), ' ', el('button', {type: 'button', autofocus: true, onclick: () => dialog.close()}, 'Let it run')));
  dialog.addEventListener('close', () => dialog.remove());
  part.append(dialog);
  dialog.showModal();
}

// --- fitness ---------------------------------------------------------------------------------------------------------
function fitnessChart(part, id) {
  let plot = null, objective = 0, last = null, job = null, ended = false;
  // Role application: a screen reader hands the arrow keys on.
  const box = el('div', {class: 'chart', tabindex: 0, role: 'application', 'aria-roledescription': 'chart'});
  const legend = el('p', {class: 'legend', 'aria-hidden': 'true'}, el('span', {class: 'k-base'}, el('i'), 'sources and their average'),
    el('span', {}, 'Drag to zoom, double-click for all of it; click a candidate to open it.'));
  const generations = el('details', {ontoggle: () => generationTable()}, el('summary', {}, 'Generations as a table'), el('div', {class: 'scroll'}));
  const empty = el('p', {class: 'dim'}, 'No candidate of the search has a fitness yet.');
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  const rebuild = () => { plot?.destroy(); plot = null; if (last) render(); };
  let narrow = false;
  const resize = new ResizeObserver(() => {
    if (plot && box.clientWidth < kNarrow !== narrow) rebuild();
    else plot?.setSize({width: box.clientWidth, height: 320});
  });

  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim(); }

  function baselineLines(u) {
    const {ctx, bbox} = u;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour('base');
    ctx.setLineDash([6, 6]);
    ctx.textAlign = narrow ? 'right' : 'left';
    ctx.textBaseline = 'alphabetic';
    ctx.lineJoin = 'round';
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    const labels = [];
    for (const b of [...last.baselines].sort((x, y) => (y.fitness[objective] ?? 0) - (x.fitness[objective] ?? 0))) {
      const value = b.fitness[objective];
      if (value === null || value === undefined) continue;
      const y = u.valToPos(value, 'y', true), text = value.toFixed(3), before = labels.at(-1);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      if (narrow && before?.text === text) before.names += ', ' + b.label;  // there is room to the left
      else labels.push({names: b.label, text, y: y + 4 * devicePixelRatio});
    }
    // Labels of near lines go below each other, but not below the chart.
    const step = 13 * devicePixelRatio, bottom = bbox.top + bbox.height;
    for (let i = 1; i < labels.length; ++i) labels[i].y = Math.max(labels[i].y, labels[i - 1].y + step);
    for (let i = labels.length - 1, most = bottom; i >= 0; --i, most -= step) labels[i].y = Math.min(labels[i].y, most);
    for (const {names, text, y: below} of labels) {
      const label = `${names} ${text}`, x = bbox.left + bbox.width + (narrow ? -4 : 6) * devicePixelRatio;
      if (narrow) {  // over the points, so with a rim
        ctx.save();
        ctx.setLineDash([]);
        ctx.strokeStyle = colour('bg');
        ctx.lineWidth = 4 * devicePixelRatio;
        ctx.strokeText(label, x, below);
        ctx.restore();
      }
      ctx.fillText(label, x, below);
    }
    ctx.restore();
  }

  // Thousands of points as squares: a canvas without a GPU takes ten times as long for circles.
  function candidates(u, series) {
    if (series !== 1) return;
    const [xs, ys] = u.data, {min, max} = u.scales.x, size = Math.round(4 * devicePixelRatio);
    u.ctx.save();
    u.ctx.fillStyle = colour('accent') + '80';  // half seen through
    for (let i = 0; i < xs.length; ++i) {
      if (xs[i] < min || xs[i] > max) continue;
      u.ctx.fillRect(Math.round(u.valToPos(xs[i], 'x', true) - size / 2), Math.round(u.valToPos(ys[i], 'y', true) - size / 2), size, size);
    }
    u.ctx.restore();
  }

  function columns() {
    const means = new Map(last.generations[objective].map((g) => [g.generation, g.mean]));
    let best = -Infinity;
    const {number: numbers, fitness: values, generation} = last.points;
    return [numbers, values, values.map((v) => (best = Math.max(best, v))), generation.map((g) => means.get(g) ?? null)];
  }

  function render() {
    const data = columns();
    if (data[0].length === 0) return replace(part, empty);
    if (!box.isConnected) replace(part, picker(), box, legend, generations);
    const all = [...data[1], ...last.baselines.map((b) => b.fitness[objective]).filter((x) => typeof x === 'number')];
    const low = Math.min(...all), high = Math.max(...all), pad = Math.max((high - low) * 0.05, 1e-3);
    box.setAttribute('aria-label', `Fitness over ${data[0].length} candidates: best ${Math.max(...data[1]).toFixed(4)}; ` +
      last.baselines.map((b) => `${b.label} ${fitness(b.fitness[objective])}`).join(', ') + '. Arrow keys step through candidates, Enter opens one.');
    plotRange = [low - pad, high + pad];
    if (plot === null) {
      narrow = box.clientWidth < kNarrow;
      const line = colour('line'), dim = colour('dim');
      const axis = {stroke: dim, grid: {stroke: line, width: 1}, ticks: {stroke: line, width: 1}};
      plot = new uPlot({
        width: box.clientWidth || 900, height: 320, padding: [12, narrow ? 24 : 120, 0, 0],
        scales: {x: {time: false}, y: {range: () => [...plotRange]}},
        axes: [{...axis, label: 'candidate', labelSize: 20}, {...axis, size: 50, label: job.objectives[objective], labelSize: 20}],
        legend: {live: true},
        cursor: {drag: {x: true, y: false}},
        series: [{label: 'candidate'},
          {label: 'fitness', stroke: colour('accent'), paths: () => null, points: {show: false}, value: (_, v) => fitness(v)},
          {label: 'best so far', stroke: colour('best'), width: 2, points: {show: false}, value: (_, v) => fitness(v)},
          {label: 'mean of its generation', stroke: colour('mean'), width: 1.5, points: {show: false}, value: (_, v) => fitness(v)}],
        hooks: {draw: [baselineLines], drawSeries: [candidates]},
      }, data, box);
      plot.over.addEventListener('dblclick', () => plot.setData(columns()));
      plot.over.addEventListener('click', () => open());
      resize.observe(box);
    } else {
      const {min, max} = plot.scales.x, xs = plot.data[0];
      plot.setData(data, min <= xs[0] && max >= xs.at(-1));  // somebody may have zoomed in
    }
    generationTable();
  }

  // While it is open.
  function generationTable() {
    if (!generations.open) return replace(generations.lastChild);
    replace(generations.lastChild, el('table', {},
      el('thead', {}, el('tr', {}, ['Generation', 'Finished', 'Best', 'Mean'].map((h) => el('th', {scope: 'col', class: 'n'}, h)))),
      el('tbody', {}, last.generations[objective].map((g) => el('tr', {}, el('th', {scope: 'row', class: 'n'}, g.generation + 1),
        el('td', {class: 'n'}, number(g.count)), el('td', {class: 'n'}, fitness(g.best)), el('td', {class: 'n'}, fitness(g.mean)))))));
  }
  let plotRange = [0, 1];

  function open() {
    const i = plot?.cursor.idx;
    if (i !== null && i !== undefined && plot.select.width === 0) location.hash = `#/jobs/${encodeURIComponent(id)}/candidates/${plot.data[0][i]}`;
  }

  box.addEventListener('keydown', (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity}[event.key];
    if (event.key === 'Enter') open();
    if (step === undefined || plot === null) return;
    event.preventDefault();
    const i = Math.min(plot.data[0].length - 1, Math.max(0, (plot.cursor.idx ?? 0) + step));
    plot.setCursor({left: plot.valToPos(plot.data[0][i], 'x'), top: plot.valToPos(plot.data[1][i], 'y')});
    announce(`candidate ${plot.data[0][i]}: ${fitness(plot.data[1][i])}`);
  });

  function picker() {
    if (job.objectives.length < 2) return null;
    const select = el('select', {onchange: () => { objective = Number(select.value); reload(); }},
      job.objectives.map((o, i) => el('option', {value: i, selected: i === objective}, o)));
    return el('div', {class: 'tools'}, el('label', {}, 'Objective', select));
  }

  let where = '';
  async function reload() {
    last.points = await get(`${where}/fitness?` + query({objective}));
    rebuild();
  }

  scheme.addEventListener('change', rebuild);
  return {
    start(j) { job = j; replace(part, empty); },
    ask(path) {
      where = path;
      return get(`${path}/fitness?` + query({objective}));
    },
    async draw(about, asked) {
      const points = await asked;
      if (ended) return;
      last = {points, baselines: about.baselines, generations: about.generations};
      render();
    },
    end() {
      ended = true;
      scheme.removeEventListener('change', rebuild);
      resize.disconnect();
      plot?.destroy();
      plot = null;
      last = null;
    },
  };
}

// --- the rest --------------------------------------------------------------------------------------------------------
export function recipe(job, candidate) {
  if (!candidate.recipe) return el('p', {class: 'dim'}, 'No recipe: this candidate loads the job.');
  const plain = candidate.pictures === '' ? el('p', {class: 'dim'}, 'One model as it is.') : drawn(candidate.pictures);
  return [el('p', {class: 'dim'}, 'Of candidate ', candidateLink(job, candidate.number), ', fitness ', candidate.fitness.map(fitness).join(', ') || '–', '.'),
    plain, candidate.tables ? details('The numbers as a table', () => drawn(candidate.tables)) : null,
    details('Recipe as YAML', () => [el('p', {class: 'dim'}, 'For ', el('code', {}, 'merganser merge recipe.yaml OUT_DIR'), '.'),
      el('pre', {tabindex: 0}, candidate.recipe)])];
}

function heldOut(lines) {
  if (lines.length === 0) return null;
  const benchmarks = [...new Set(lines.map((l) => l.benchmark))];
  const row = (l) => el('tr', {class: l.model === 'winner' ? 'winner' : null}, el('th', {scope: 'row'}, l.model), el('td', {}, l.metric),
    metricTexts(l).map((text) => el('td', {class: 'n'}, text)), el('td', {class: 'n'}, number(l.samples)));
  return section('Held out', el('p', {class: 'dim'}, 'Never seen by the search.'), benchmarks.map((b) => el('div', {class: 'scroll'}, el('table', {},
    el('caption', {}, b), el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Model'), el('th', {scope: 'col'}, 'Metric'),
      ['Value', '95 % interval', 'Samples'].map((h) => el('th', {scope: 'col', class: 'n'}, h)))),
    el('tbody', {}, lines.filter((l) => l.benchmark === b).map(row))))));
}

function failures(list, open) {
  if (list.length === 0) return null;
  const total = list.reduce((sum, f) => sum + f.count, 0);
  return el('details', {open}, el('summary', {}, `${number(total)} candidates failed; why`), el('ul', {}, list.map((f) => el('li', {}, `${number(f.count)} × `, f.reason))));
}

function settings(about) {
  const f = about.facts;
  return [f === null ? null : el('p', {class: 'dim'}, `${f.architecture}, ${f.layers} layers, ${number(f.parameters)} parameters.`),
    details('The job as YAML', () => [el('p', {class: 'dim'}, 'Again: ', el('code', {}, 'merganser submit job.yaml'), ' with this file.'),
      el('pre', {tabindex: 0}, about.settings)])];
}

// A function that calls the last of what it was given, once nothing more came for a moment.
function debounced() {
  let timer;
  return (f) => { clearTimeout(timer); timer = setTimeout(f, 200); };
}

function candidateTable(part, id) {
  const asked = {search: '', kind: 'search', state: '', order: 'fitness', objective: 0, descending: true, offset: 0, limit: kRows};
  const chosen = new Set();
  const rows = el('div', {role: 'region', 'aria-label': 'Candidates', 'aria-live': 'off'}), choice = el('div');
  let job = null, turn = 0;

  const later = debounced();
  const ask = (change) => { Object.assign(asked, {offset: 0}, change); refresh(); };
  const options = (values) => values.map(([v, t]) => el('option', {value: v, selected: v === 'search'}, t));
  const kinds = el('select', {onchange: (e) => ask({kind: e.target.value})},
    options([['', 'all'], ['search', 'search'], ['source', 'sources'], ['average', 'average'], ['finalist', 'finalists'], ['held_out', 'held out'], ['prepare', 'prepare']]));
  const states = el('select', {onchange: (e) => ask({state: e.target.value})},
    options([['', 'all'], ['queued', 'queued'], ['running', 'running'], ['succeeded', 'succeeded'], ['failed', 'failed'], ['cancelled', 'cancelled']]));
  const search = el('input', {type: 'search', placeholder: 'number, g12 for a generation, worker, message', size: 34,
    oninput: (e) => later(() => ask({search: e.target.value.trim()}))});
  const tools = el('div', {class: 'tools', role: 'search'}, el('label', {class: 'grow'}, 'Search', search), el('label', {}, 'Kind', kinds), el('label', {}, 'State', states));

  function column(title, order, {objective = 0, spare = false} = {}) {
    const now = asked.order === order && asked.objective === objective;
    const next = () => ask(now ? {descending: !asked.descending} : {order, objective, descending: order === 'fitness' || order === 'seconds'});
    return el('th', {scope: 'col', class: spare ? 'n spare' : 'n', 'aria-sort': now ? (asked.descending ? 'descending' : 'ascending') : 'none'},
      el('button', {type: 'button', onclick: next, 'data-key': order + (objective || '')}, title));
  }

  function choose(n, on) {
    if (on) chosen.add(n); else chosen.delete(n);
    if (chosen.size > 2) chosen.delete([...chosen][0]);
    for (const box of rows.querySelectorAll('input[type=checkbox]')) {
      box.checked = chosen.has(Number(box.value));
      box.closest('tr').classList.toggle('chosen', box.checked);
    }
    const [a, b] = [...chosen];
    replace(choice, chosen.size === 0 ? null : el('p', {class: 'choice', role: 'status'},
      chosen.size === 1 ? `Candidate ${a} is chosen; choose another to compare them.`
        : el('a', {href: `#/jobs/${encodeURIComponent(id)}/compare/${a}/${b}`}, `Compare candidates ${a} and ${b}, sample by sample`)));
  }

  function row(r) {
    const box = r.state === 'succeeded' && r.kind !== 'prepare'
      ? el('input', {type: 'checkbox', value: r.number, checked: chosen.has(r.number), 'aria-label': `compare candidate ${r.number}`, onchange: (e) => choose(r.number, e.target.checked)}) : null;
    return el('tr', {class: chosen.has(r.number) ? 'chosen' : null}, el('td', {}, box), el('th', {scope: 'row', class: 'n'}, candidateLink(id, r.number)),
      el('td', {class: 'spare'}, word(r.kind), r.label ? ' ' + r.label : ''), el('td', {class: 'n spare'}, r.generation === null ? '–' : r.generation + 1), el('td', {}, state(r.state)),
      job.objectives.map((_, i) => el('td', {class: 'n'}, fitness(r.fitness[i]))), el('td', {class: 'n'}, duration(r.seconds)),
      el('td', {class: 'n spare'}, r.attempts), el('td', {class: 'worker spare'}, r.worker || '–'), el('td', {class: 'message'}, r.message));
  }

  const askPage = () => get(`jobs/${encodeURIComponent(id)}/candidates?` + query(asked));

  async function refresh(answer) {
    if (job === null) return;
    const mine = ++turn;
    const page = await (answer ?? askPage());
    if (mine !== turn) return;  // a newer question is on its way
    redraw(rows, el('div', {class: 'scroll'}, el('table', {class: 'wide'},
      el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, el('span', {class: 'visually-hidden'}, 'Compare')), column('Candidate', 'number'), el('th', {scope: 'col', class: 'spare'}, 'Kind'),
        column('Generation', 'generation', {spare: true}), el('th', {scope: 'col'}, 'State'),
        job.objectives.map((o, objective) => column(o, 'fitness', {objective})), column('Time', 'seconds'),
        el('th', {scope: 'col', class: 'n spare'}, 'Attempts'), el('th', {scope: 'col', class: 'spare'}, 'Worker'), el('th', {scope: 'col'}, 'Message'))),
      el('tbody', {}, page.rows.map(row)))),
      page.rows.length === 0 ? el('p', {class: 'dim'}, asked.search || asked.state ? 'No such candidate' : 'None of this kind yet', '; the job has ', number(page.all), ' of all kinds.') : pager(asked.offset, kRows, page.total, (offset) => { asked.offset = offset; refresh(); }));
  }

  return {
    ask: askPage,
    async start(j, answer) {
      const first = job === null;
      job = j;
      if (!first) return;
      replace(part, tools, el('p', {class: 'dim'}, 'Tick two to compare them sample by sample.'), rows, choice);
      await refresh(answer);
    },
    refresh: () => refresh(),
  };
}

const kEventKinds = [['', 'all'], ['proposal', 'proposals'], ['attempt', 'attempts'], ['result', 'results'], ['race', 'races'], ['job', 'the job itself']];

function eventList(part, path, id) {
  const asked = {kind: '', search: '', candidate: ''};
  const list = el('ol', {class: 'events', reversed: true, tabindex: -1, 'aria-label': 'Events'}), more = el('button', {type: 'button', onclick: () => fill(false)}, 'Older events');
  const rest = el('p', {class: 'dim', role: 'status'});
  let newest = 0, oldest = Infinity, turn = 0, all = false;

  const later = debounced();
  const ask = (change) => { Object.assign(asked, change); fill(true); };
  const kinds = el('select', {onchange: (e) => ask({kind: e.target.value})}, kEventKinds.map(([value, text]) => el('option', {value}, text)));
  const search = el('input', {type: 'search', placeholder: 'worker, reason, failure', size: 24, oninput: (e) => later(() => ask({search: e.target.value.trim()}))});
  const candidate = el('input', {type: 'number', min: 0, step: 1, class: 'short', oninput: (e) => later(() => { if (e.target.checkValidity()) ask({candidate: e.target.value}); })});
  replace(part, el('div', {class: 'tools', role: 'search', 'aria-label': 'Events'}, el('label', {class: 'grow'}, 'Search', search), el('label', {}, 'Kind', kinds), el('label', {}, 'Candidate', candidate)),
    list, rest, el('p', {}, more));

  const line = (e) => el('li', {value: e.seq}, el('span', {class: 'dim'}, '#' + e.seq), time(e.time),
    e.candidate === null ? el('span', {}, '') : candidateLink(id, e.candidate, 'candidate ' + e.candidate), el('span', {}, e.text));
  const matches = (e) => (!asked.kind || e.kind === asked.kind) && (!asked.candidate || e.candidate === Number(asked.candidate)) &&
    e.text.toLowerCase().includes(asked.search.toLowerCase());
  const filtered = () => asked.kind || asked.search || asked.candidate;

  // What is asked for, from its newest on (`anew`) or after what is there.
  async function fill(anew) {
    const mine = ++turn;
    let page;
    try {
      page = await get(`${path}/events?` + query({...asked, before: anew || oldest === Infinity ? '' : oldest, limit: kEvents}));
    } catch (error) {
      if (mine === turn) replace(rest, el('span', {class: 'error'}, error.message));
      return;
    }
    if (mine !== turn) return;  // a newer question is on its way
    if (anew) {
      list.replaceChildren();
      oldest = Infinity;
      newest = page.seq;
    }
    for (const e of page.events) {
      list.append(line(e));
      oldest = Math.min(oldest, e.seq);
      newest = Math.max(newest, e.seq);
    }
    all = page.events.length < kEvents;
    more.hidden = all || oldest <= 1;
    replace(rest, list.children.length === 0 ? 'No such event' + (page.oldest > 1 ? ' among the newest 10,000. ' : '. ') : '',
      all && page.oldest > 1 ? ['Older ones: ', el('code', {}, 'merganser events ' + id)] : '');
  }

  return {
    newest: () => newest,
    // Newest first.
    add(events) {
      // More than an update holds: among them may be some of what is asked for.
      if (newest > 0 && filtered() && events.length > 0 && events.at(-1).seq > newest + 1) return fill(true);
      for (const e of [...events].reverse()) {
        if (e.seq <= newest) continue;
        newest = e.seq;
        if (!matches(e)) continue;
        list.prepend(line(e));
        oldest = Math.min(oldest, e.seq);
        if (filtered()) replace(rest);
      }
      while (list.children.length > 500) {
        list.lastChild.remove();
        oldest = Number(list.lastChild.value);
        all = false;
      }
      more.hidden = all || oldest <= 1;
    },
  };
}
