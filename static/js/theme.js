// Light or dark as chosen in this browser, before the first paint. Everything else waits; this one doesn't.
"use strict";

{
  const chosen = localStorage.getItem("hawkops-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
