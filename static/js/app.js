// Small things every page does: keys, ages that stay true, what changed said once.
"use strict";

(() => {
  const environment = document.documentElement.dataset.environment;
  const go = { o: "", r: "releases", f: "flags", s: "scripts", d: "monitoring/litert", h: "history" };
  let pending = 0;

  const typing = (element) => element.closest("input, textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !environment) return;
    if (event.target instanceof Element && typing(event.target)) return;
    if (localStorage.getItem("hawkops-keys") === "off") return;
    const to = (path) => { event.preventDefault(); location.href = `/${environment}/${path}`; };
    if (pending && performance.now() - pending < 1200 && event.key in go) {
      pending = 0;
      to(go[event.key]);
    } else if (event.key === "g") {
      pending = performance.now();
    } else if (event.key === "k") {
      to("emergency");
    } else if (event.key === "/") {
      const search = document.querySelector("#q");
      if (search) { event.preventDefault(); search.focus(); } else { to("history"); }
    }
  });

  // "41 s ago" grows by itself; the exact moment stands in the title.
  const spoken = (seconds) => {
    const thin = "\u202f";
    if (seconds < 60) return `${Math.floor(seconds)}${thin}s`;
    if (seconds < 600) return `${Math.floor(seconds / 60)}${thin}min ${Math.floor(seconds % 60)}${thin}s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)}${thin}min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)}${thin}h ${Math.floor((seconds % 3600) / 60)}${thin}min`;
    return `${Math.floor(seconds / 86400)}${thin}d`;
  };
  const tick = () => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-age]")) {
      const seconds = Math.max(0, (Date.now() - Date.parse(element.dateTime)) / 1000);
      element.textContent = `${spoken(seconds)} ago`;
    }
  };
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);

  // Parts that carry data-said tell screen readers once what they now say.
  document.addEventListener("htmx:afterSwap", (event) => {
    const part = event.detail.elt.closest?.("[data-said]");
    const line = document.getElementById("said");
    if (part && line && line.textContent !== part.dataset.said) line.textContent = part.dataset.said;
  });
})();
