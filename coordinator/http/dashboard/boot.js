// What the page of a job draws first is asked for while its scripts are still on their way (api.js takes the answers).
window.early = new Map();
{
  const job = /^#\/jobs\/([^/]+)$/.exec(location.hash);
  const token = sessionStorage.getItem('merganser-token');
  const headers = token ? {Authorization: 'Bearer ' + token} : {};
  for (const what of job ? ['', '/fitness?objective=0', '/candidates?kind=search&order=fitness&objective=0&descending=1&offset=0&limit=25', '/candidates/best'] : []) {
    const path = `jobs/${job[1]}${what}`;
    window.early.set(path, fetch('/api/' + path, {headers}).catch(() => null));
  }
}

// A file of the page did not come, because the network changed meanwhile or the coordinator restarted: all of it again, soon.
addEventListener('error', (event) => {
  if (event.target instanceof HTMLScriptElement || event.target instanceof HTMLLinkElement) setTimeout(() => location.reload(), 2000);
}, true);
