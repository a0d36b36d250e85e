// A log that goes on stays at its end, unless one has scrolled up to read.
"use strict";
{
  const NEAR = 40; // so close to the end, in pixels, counts as being there
  const left = new WeakSet();
  const end = (log) => { log.scrollTop = log.scrollHeight; };
  document.addEventListener("scroll", ({ target }) => {
    if (!target.hasAttribute?.("data-follow")) return;
    const there = target.scrollHeight - target.scrollTop - target.clientHeight < NEAR;
    if (there) left.delete(target);
    else left.add(target);
  }, true);
  const followAll = () => {
    for (const log of document.querySelectorAll("[data-follow]")) if (!left.has(log)) end(log);
  };
  document.addEventListener("panel", followAll);
  followAll();
}
