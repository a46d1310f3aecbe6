// A file of the page did not come, because the network changed meanwhile or the coordinator restarted: all of it again, soon.
addEventListener('error', (event) => {
  if (event.target instanceof HTMLScriptElement || event.target instanceof HTMLLinkElement) setTimeout(() => location.reload(), 2000);
}, true);
