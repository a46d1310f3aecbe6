// Requests to the coordinator. A token lives in this tab only, and goes out only where nobody can read it on the way.
import {el} from './dom.js';

const kTokenKey = 'merganser-token';
let token = sessionStorage.getItem(kTokenKey) || '';

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers() {
  return token ? {Authorization: 'Bearer ' + token} : {};
}

async function request(path, options = {}) {
  // Once, and only what came: anything else is asked for again.
  const early = window.early.get(path), come = early && !options.method ? await early : null;
  window.early.delete(path);
  if (come?.ok) return come;
  for (;;) {
    const response = await fetch('/api/' + path, {...options, headers: {...headers(), ...options.headers}});
    if (response.ok) return response;
    let message = response.statusText;
    try { message = (await response.json()).error || message; } catch { /* no JSON: the status has to do */ }
    if (response.status !== 401) throw new ApiError(response.status, message);
    await askForToken(token ? message : '');
  }
}

export async function get(path, options) { return (await request(path, options)).json(); }
// get() that outlasts a break of the network or of the coordinator: `waits` (message) hears of each failure. Ends with
// undefined once `signal` is aborted.
export async function getPatiently(path, signal, waits) {
  for (;;) {
    try {
      const answer = await get(path);
      return signal.aborted ? undefined : answer;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!passing(error)) throw error;
      waits(error.message + '; trying again');
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

// Whether the same request may well succeed later.
export const passing = (error) => error.status === undefined || error.status >= 500;

export async function getText(path) { return (await request(path)).text(); }
export async function post(path) {
  return (await request(path, {method: 'POST', headers: {'X-Merganser': 'dashboard'}})).json();
}

// "a=1&b=x" of what is set.
export function query(values) {
  const set = Object.entries(values).filter(([, v]) => v !== '' && v !== null && v !== undefined && v !== false);
  return new URLSearchParams(set.map(([k, v]) => [k, v === true ? '1' : v])).toString();
}

let asking = null;  // one dialog for all requests that wait
function askForToken(error) {
  asking ??= new Promise((resolve, reject) => {
    const secure = window.isSecureContext;  // https, or this machine
    const input = el('input', {type: 'password', name: 'token', autocomplete: 'off', required: true, id: 'token', disabled: !secure});
    const dialog = el('dialog', {'aria-labelledby': 'token-title'},
      el('form', {method: 'dialog'},
        el('h2', {id: 'token-title'}, 'Token'),
        el('p', {}, 'This coordinator asks who you are: a token of its --token-file. Role viewer is enough to look.'),
        secure ? null : el('p', {class: 'error'}, 'This page came in plain text over the network, so a token could be read on ' +
          'the way. Reach it by https, or through a tunnel to 127.0.0.1.'),
        error ? el('p', {class: 'error', role: 'alert'}, error) : null,
        el('p', {}, el('label', {for: 'token'}, 'Token '), input),
        el('p', {}, el('button', {disabled: !secure}, 'Look'))));
    dialog.addEventListener('close', () => {
      asking = null;
      token = input.value;
      dialog.remove();
      if (!token) return reject(new ApiError(401, 'A token is needed to look at this coordinator. Reload the page to give one.'));
      sessionStorage.setItem(kTokenKey, token);
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

// Server-sent events through fetch, which unlike EventSource can carry a token. `on` gets each update; comes back after a
// break. Only while the page is looked at: a browser opens six connections to a server for all of its tabs, and the seventh
// tab would wait for ever. Returns a function that ends it.
export function follow(path, on, onConnection) {
  let abort = null;
  const look = () => {
    if (document.visibilityState === 'visible') {
      if (abort === null) listen(path, on, onConnection, (abort = new AbortController()).signal);
    } else {
      rest();
    }
  };
  const rest = () => { abort?.abort(); abort = null; };
  const events = [[document, 'visibilitychange', look], [window, 'pageshow', look], [window, 'pagehide', rest]];
  for (const [target, name, listener] of events) target.addEventListener(name, listener);
  look();
  return () => {
    for (const [target, name, listener] of events) target.removeEventListener(name, listener);
    rest();
  };
}

async function listen(path, on, onConnection, signal) {
  for (let pause = 1000; !signal.aborted;) {
    try {
      const response = await request(path(), {signal});
      pause = 1000;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const {value, done} = await reader.read();
        if (done) break;
        text += value;
        for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) handle(text.slice(0, end), on, onConnection);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404 || error.status === 403) return onConnection(false, error.message);
    }
    if (signal.aborted) return;
    onConnection(false, 'the coordinator is away; trying again');
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(15000, pause * 2);
  }
}

function handle(block, on, onConnection) {
  let event = '', data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice(7);
    if (line.startsWith('data: ')) data += line.slice(6);
  }
  if (event === 'update') {
    onConnection(true);
    on(JSON.parse(data));
  } else if (event === 'away') {
    onConnection(false, JSON.parse(data).error);
  }
}
