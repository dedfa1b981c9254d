// Small things every page does: single keys, ages that stay true, the choice of light or dark.
"use strict";

(() => {
  const root = document.documentElement;
  const { environment } = root.dataset;

  // ---- keys: k, g and a letter, /, Esc. Off while typing, and off altogether for whoever wants it so ----

  const GO = { o: "", r: "releases", f: "flags", s: "scripts", d: "monitoring/litert", a: "alerts", h: "history", i: "incidents" };
  const PAIR_MS = 1200;
  let gPressedAt = -PAIR_MS;

  const typing = (target) => target instanceof Element && target.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
  const visit = (event, page) => { event.preventDefault(); location.href = `/${environment}/${page}`; };
  const close = (event) => {
    const open = document.querySelector("details.env-switch[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
    else if (typing(event.target)) event.target.blur();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape") { close(event); return; }
    if (!environment || typing(event.target) || localStorage.getItem("hawkops-keys") === "off") return;
    if (event.timeStamp - gPressedAt < PAIR_MS && event.key in GO) visit(event, GO[event.key]);
    else if (event.key === "k") visit(event, "emergency");
    else if (event.key === "/") {
      const search = document.querySelector("#q, input[type=search]");
      if (search) { event.preventDefault(); search.focus(); } else visit(event, "history");
    }
    gPressedAt = event.key === "g" ? event.timeStamp : -PAIR_MS;
  });

  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details.env-switch[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });

  // ---- "41 s ago" grows by itself; the exact moment stands in the title ----

  const THIN = "\u202f";
  const spoken = (total) => {
    const seconds = Math.max(0, Math.floor(total));
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    if (minutes < 1) return `${seconds}${THIN}s`;
    if (hours < 1) return `${minutes}${THIN}min${minutes < 10 && seconds % 60 ? ` ${seconds % 60}${THIN}s` : ""}`;
    if (hours < 48) return `${hours}${THIN}h${minutes % 60 ? ` ${minutes % 60}${THIN}min` : ""}`;
    return `${Math.floor(hours / 24)}${THIN}d${hours % 24 ? ` ${hours % 24}${THIN}h` : ""}`;
  };
  const age = () => {
    if (document.hidden) return;
    for (const time of document.querySelectorAll("time[data-age]")) {
      const words = `${spoken((Date.now() - Date.parse(time.dateTime)) / 1000)} ago`;
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(age, 1000);
  document.addEventListener("visibilitychange", age);

  // ---- preferences, kept in this browser ----

  const show = () => {
    const chosen = root.dataset.theme ?? "system";
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === chosen));
    }
    for (const box of document.querySelectorAll("[data-keys-choice]")) box.checked = localStorage.getItem("hawkops-keys") !== "off";
    for (const part of document.querySelectorAll("[data-preferences]")) part.hidden = false;
  };
  const choose = (theme) => {
    if (theme === "system") { delete root.dataset.theme; localStorage.removeItem("hawkops-theme"); }
    else { root.dataset.theme = theme; localStorage.setItem("hawkops-theme", theme); }
    show();
    document.dispatchEvent(new CustomEvent("theme:chosen"));
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-choice]");
    if (button) choose(button.dataset.themeChoice);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches?.("[data-keys-choice]")) localStorage.setItem("hawkops-keys", event.target.checked ? "on" : "off");
  });
  window.addEventListener("storage", (event) => {
    if (event.key === "hawkops-theme") choose(event.newValue ?? "system");
  });
  show();
})();
