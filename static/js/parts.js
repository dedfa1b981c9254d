// Parts of a page that ask for themselves again (hx-get with hx-trigger="live:…"). htmx does the asking; this keeps it
// honest: hidden tabs ask nothing, no change is lost while an answer is under way, a lost session is noticed.
"use strict";

(() => {
  const asking = new Map(); // id of a part whose answer is under way → whether something changed meanwhile

  document.addEventListener("htmx:beforeRequest", (event) => {
    const { elt, verb } = event.detail.requestConfig;
    if (verb !== "get") return;
    if (document.hidden) event.preventDefault(); // the tab asks when it is seen again
    else if (elt.id) asking.set(elt.id, false);
  });

  // The element that would have asked again is replaced by the answer, and its wish with it: remember the wish here.
  const note = (event) => {
    for (const id of asking.keys()) {
      if (document.getElementById(id)?.getAttribute("hx-trigger")?.includes(event.type)) asking.set(id, true);
    }
  };
  for (const topic of ["history", "telemetry", "census", "run", "evidence", "alerts", "health", "patterns", "resync"]) {
    document.addEventListener(`live:${topic}`, note, { capture: true }); // before htmx hears it and asks
  }
  document.addEventListener("htmx:afterRequest", (event) => {
    const { id } = event.detail.requestConfig.elt; // not detail.elt: a replaced part tells its parent
    const changed = asking.get(id);
    asking.delete(id);
    const part = changed && document.getElementById(id);
    if (part && event.detail.successful) {
      window.htmx.ajax("GET", part.getAttribute("hx-get"), { source: part, target: part, swap: part.getAttribute("hx-swap") });
    }
  });

  // Signed out meanwhile: the answer is another page. Load the whole page, once however many parts hear it: it leads to
  // signing in and back.
  let leaving = false;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, pathInfo } = event.detail;
    const asked = new URL(pathInfo.finalRequestPath ?? pathInfo.requestPath, location.href).pathname;
    if (xhr.responseURL && new URL(xhr.responseURL).pathname !== asked) {
      event.detail.shouldSwap = false;
      if (!leaving) location.reload();
      leaving = true;
    }
  });

  // A <details id> that somebody opened or closed stays so when its part is replaced.
  const chosen = new Map();
  document.addEventListener("click", (event) => {
    const details = event.target.closest?.("summary")?.parentElement;
    if (details?.id) chosen.set(details.id, !details.open);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const [id, open] of chosen) {
      const details = document.getElementById(id);
      if (details) details.open = open;
    }
  });

  // Parts that carry data-said tell screen readers, once, what they now say.
  document.addEventListener("htmx:afterSettle", (event) => {
    const part = event.detail.elt.closest?.("[data-said]");
    const line = document.getElementById("said");
    if (part && line && line.textContent !== part.dataset.said) line.textContent = part.dataset.said;
  });
})();
