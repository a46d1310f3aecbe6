// One candidate, and two side by side.
import {get, getPatiently, query} from './api.js';
import {duration, el, fitness, marked, number, pager, redraw, replace, state, time, word} from './dom.js';
import {candidateLink, recipe} from './job.js';

const kSamples = 20;
const kRefresh = 2000;  // ms between looks at a candidate that is not over

// The benchmark of the first objective, if the candidate was evaluated on it; else the first that it was evaluated on.
const firstBenchmark = (job, c) => c.benchmarks.find((b) => job.objectives[0].startsWith(b + '.')) ?? '';

const crumbs = (job, ...rest) => el('p', {class: 'crumbs'}, el('a', {href: '#/'}, 'Jobs'), ' / ',
  el('a', {href: '#/jobs/' + encodeURIComponent(job.id)}, job.name), ' / ', rest);

function fail(view, id, title, why) {
  replace(view, el('p', {class: 'crumbs'}, el('a', {href: '#/'}, 'Jobs'), ' / ', el('a', {href: '#/jobs/' + encodeURIComponent(id)}, id)),
    el('h1', {}, title), el('p', {class: 'error', role: 'alert'}, why));
}

export function candidatePage(view, [id, n], onConnection) {
  onConnection(true, '');
  const left = new AbortController();
  let shown = '';
  (async () => {
    for (;;) {
      const answer = await getPatiently(`jobs/${encodeURIComponent(id)}/candidates/${n}`, left.signal, (why) => { shown = ''; fail(view, id, 'Candidate ' + n, why); });
      if (!answer) return;
      const now = JSON.stringify(answer.candidate);
      if (now !== shown && !marked(view)) { draw(answer); shown = now; }
      if (shown === now && !['queued', 'running'].includes(answer.candidate.state)) return;
      await new Promise((resolve) => setTimeout(resolve, kRefresh));
    }
  })().catch((error) => fail(view, id, 'Candidate ' + n, error.message));

  function draw({candidate: c, job}) {
    document.title = `Candidate ${n} of ${job.name} · Merganser`;
    const samples = el('div');
    redraw(view, crumbs(job, 'candidate ' + n),
      el('h1', {}, `Candidate ${n} `, state(c.state)),
      el('p', {class: 'dim'}, word(c.kind), c.label ? ' ' + c.label : '', c.generation === null ? '' : `, generation ${c.generation + 1}`,
        ', proposed ', time(c.create_time), '. ', neighbours(id, Number(n))),
      c.message ? el('p', {class: c.state === 'failed' ? 'error' : 'dim'}, c.message) : null,
      el('div', {class: 'columns'}, el('section', {}, el('h2', {}, 'Scores'), scores(c, job)), el('section', {}, el('h2', {}, 'Time'), timings(c))),
      el('h2', {}, 'Recipe'), recipe(id, c),
      el('h2', {}, 'Attempts'), attempts(c),
      el('h2', {}, 'Samples'), samples);
    if (c.has_samples) sampleList(samples, id, n, firstBenchmark(job, c));
    else replace(samples, el('p', {class: 'dim'}, c.kind === 'prepare' ? 'None: this candidate loads the job.' : 'None: the candidate has no result.'));
  }
  return () => left.abort();
}

const neighbours = (id, n) => [n > 0 ? candidateLink(id, n - 1, '← ' + (n - 1)) : null, ' ', candidateLink(id, n + 1, (n + 1) + ' →')];

function scores(c, job) {
  const lines = Object.entries(c.metrics).flatMap(([b, metrics]) => Object.entries(metrics).map(([m, v]) => [b, m, v]));
  if (lines.length === 0) return el('p', {class: 'dim'}, 'None.');
  return el('table', {}, el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Benchmark'), el('th', {scope: 'col'}, 'Metric'), el('th', {scope: 'col', class: 'n'}, 'Value'))),
    el('tbody', {}, lines.map(([b, m, v]) => el('tr', {class: job.objectives.includes(`${b}.${m}`) ? 'winner' : null}, el('th', {scope: 'row'}, b), el('td', {}, m), el('td', {class: 'n'}, fitness(v))))));
}

function timings(c) {
  const lines = Object.entries(c.timings).filter(([, s]) => s > 0);
  if (lines.length === 0) return el('p', {class: 'dim'}, 'None.');
  return el('table', {}, el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Phase'), el('th', {scope: 'col', class: 'n'}, 'Time'))),
    el('tbody', {}, lines.map(([p, s]) => el('tr', {}, el('th', {scope: 'row'}, p), el('td', {class: 'n'}, duration(s))))));
}

function attempts(c) {
  if (c.attempts.length === 0) return el('p', {class: 'dim'}, 'None yet.');
  return el('div', {class: 'scroll'}, el('table', {}, el('thead', {}, el('tr', {}, el('th', {scope: 'col', class: 'n'}, 'Attempt'), ['Worker', 'Started', 'End', 'Message'].map((h) => el('th', {scope: 'col'}, h)))),
    el('tbody', {}, c.attempts.map((a) => el('tr', {}, el('th', {scope: 'row', class: 'n'}, a.number), el('td', {}, a.worker), el('td', {}, time(a.start_time)),
      el('td', {}, a.failure ? word(a.failure) : a.ended ? 'result' : 'running'), el('td', {class: 'message'}, a.message))))));
}

function benchmarkPicker(benchmarks, chosen, on) {
  if (benchmarks.length < 2) return null;
  const select = el('select', {onchange: () => on(select.value)}, benchmarks.map((b) => el('option', {value: b, selected: b === chosen}, b)));
  return el('label', {}, 'Benchmark', select);
}

const outcome = (title, o) => el('div', {class: o && o.correct ? 'right' : 'wrong'},
  el('div', {class: 'dim'}, title, o ? (o.correct ? 'right' : 'wrong') : 'no such sample', o && o.prediction !== '' ? `, read as “${o.prediction}”` : ''),
  el('div', {class: 'text'}, o ? o.completion : ''));

const question = (s) => [el('div', {class: 'dim'}, `sample ${s.index}`), el('div', {class: 'question'}, s.question),
  el('div', {}, el('span', {class: 'dim'}, 'answer '), s.answer)];

function sampleList(part, id, n, benchmark) {
  const asked = {benchmark, offset: 0, limit: kSamples};
  const ask = () => load().catch((error) => replace(part, el('p', {class: 'error', role: 'alert'}, error.message)));
  async function load() {
    const page = await get(`jobs/${encodeURIComponent(id)}/candidates/${n}/samples?` + query(asked));
    const picker = benchmarkPicker(page.benchmarks, page.benchmark, (b) => { Object.assign(asked, {benchmark: b, offset: 0}); ask(); });
    replace(part, picker ? el('div', {class: 'tools'}, picker) : null,
      page.samples.map((s) => el('article', {class: 'pair'}, question(s), el('div', {class: 'outcome'}, outcome('', s)))),
      pager(asked.offset, kSamples, page.total, (offset) => { asked.offset = offset; ask(); part.scrollIntoView(); }));
  }
  ask();
}

export function comparePage(view, [id, a, b], onConnection) {
  onConnection(true, '');
  const asked = {a, b, benchmark: '', show: 'differ', offset: 0, limit: kSamples};
  const counts = el('div'), pairs = el('div'), none = (error) => replace(pairs, el('p', {class: 'error', role: 'alert'}, error.message));
  const kShows = [['differ', 'where one is right'], ['a', `where only ${a} is right`], ['b', `where only ${b} is right`], ['wrong', 'where both are wrong'], ['right', 'where both are right'], ['all', 'all']];
  const show = el('select', {onchange: () => { Object.assign(asked, {show: show.value, offset: 0}); load().catch(none); }}, kShows.map(([v, t]) => el('option', {value: v}, t)));
  const tools = el('div', {class: 'tools'}, el('label', {}, 'Samples', show));

  async function load() {
    const page = await get(`jobs/${encodeURIComponent(id)}/compare?` + query(asked));
    if (tools.children.length === 1) {
      const picker = benchmarkPicker(page.benchmarks, page.benchmark, (benchmark) => { Object.assign(asked, {benchmark, offset: 0}); load().catch(none); });
      if (picker) tools.append(picker);
    }
    const all = page.both + page.only_a + page.only_b + page.neither;
    const row = (title, n) => el('tr', {}, el('th', {scope: 'row'}, title), el('td', {class: 'n'}, number(n)), el('td', {class: 'n'}, all ? (100 * n / all).toFixed(1) + ' %' : '–'));
    replace(counts, el('table', {}, el('caption', {}, `${page.benchmark}, ${number(all)} samples`), el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'Right'), ['Samples', 'Share'].map((h) => el('th', {scope: 'col', class: 'n'}, h)))),
      el('tbody', {}, row('both', page.both), row(`only ${a}`, page.only_a), row(`only ${b}`, page.only_b), row('neither', page.neither))));
    replace(pairs, page.pairs.map((p) => el('article', {class: 'pair'}, question(p), el('div', {class: 'outcome'}, outcome(`${a}: `, p.a), outcome(`${b}: `, p.b)))),
      page.pairs.length ? null : el('p', {class: 'dim'}, 'No such sample.'),
      pager(asked.offset, kSamples, page.total, (offset) => { asked.offset = offset; load().catch(none); tools.scrollIntoView(); }));
  }

  const gone = new AbortController();
  (async () => {
    const of = (n) => getPatiently(`jobs/${encodeURIComponent(id)}/candidates/${n}`, gone.signal, (why) => fail(view, id, `Candidates ${a} and ${b}`, why));
    const [left, right] = await Promise.all([of(a), of(b)]);
    if (!left || !right) return;
    const job = left.job;
    asked.benchmark = firstBenchmark(job, left.candidate);
    document.title = `${a} and ${b} of ${job.name} · Merganser`;
    const side = ({candidate: c}) => el('section', {}, el('h3', {}, candidateLink(id, c.number, 'Candidate ' + c.number), ' ', state(c.state)),
      el('p', {class: 'dim'}, job.objectives.map((o, i) => `${o} ${fitness(c.fitness[i])}`).join(', ')), recipe(id, c).slice(1, 3));
    replace(view, crumbs(job, `${a} and ${b}`), el('h1', {}, `Candidates ${a} and ${b}`), counts,
      el('h2', {}, 'Recipes'), side(left), side(right),  // below each other: layer below layer, in words that can be read
      el('h2', {}, 'Samples'), tools, pairs);
    await load().catch(none);  // without samples the recipes are still worth a look
  })().catch((error) => fail(view, id, `Candidates ${a} and ${b}`, error.message));
  return () => gone.abort();
}
