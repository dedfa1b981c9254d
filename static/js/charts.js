// Charts: each .plot asks its address for plain arrays and draws them in the page's own colours. It asks again when its
// topics change, when the stream comes back and when the tab becomes visible; a hidden tab asks nothing.
"use strict";

(() => {
  const own = document.currentScript;
  const plots = () => [...document.querySelectorAll(".plot[data-src]")];
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const asked = new WeakMap(); // element → { running, again, drawn, last }
  let theme = null;

  const needs = Promise.all([
    fetch(own.dataset.theme).then((answer) => answer.json()).then((found) => { theme = found; }),
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = own.dataset.plotly;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    }),
  ]);

  const template = () => theme.templates[dark() ? "dark" : "light"];
  const role = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  // Colours come as roles ("cpu", "target"); a role is looked up in a probe, because light-dark() is computed.
  const probe = document.createElement("i");
  probe.hidden = true;
  const colour = (name) => {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) return name;
    if (!role(name)) return name;
    probe.style.color = `var(--${name})`;
    if (!probe.isConnected) document.body.append(probe);
    return getComputedStyle(probe).color;
  };
  const paint = (node) => {
    if (Array.isArray(node)) { node.forEach(paint); return; }
    if (node === null || typeof node !== "object") return;
    for (const [key, value] of Object.entries(node)) {
      if (typeof value === "string" && /color$/i.test(key)) node[key] = colour(value);
      else if (key !== "x" && key !== "y" && key !== "text") paint(value);
    }
  };

  const say = (element, kind, words) => {
    let note = element.nextElementSibling;
    if (!note || !note.classList.contains("plot-note")) {
      note = document.createElement("p");
      note.className = "plot-note meta";
      element.after(note);
    }
    note.dataset.kind = kind;
    note.textContent = words;
    note.hidden = !words;
  };

  const draw = async (element, figure) => {
    if (figure.empty) {
      if (asked.get(element).drawn) { window.Plotly.purge(element); asked.get(element).drawn = false; }
      element.classList.add("is-empty");
      say(element, "empty", figure.empty);
      return;
    }
    element.classList.remove("is-empty");
    say(element, "", "");
    paint(figure.data);
    paint(figure.layout);
    const layout = { ...figure.layout, template: template(), autosize: true, uirevision: element.id };
    await window.Plotly.react(element, figure.data, layout, theme.config);
    const state = asked.get(element);
    state.drawn = true;
    element.dataset.drawnAt = String(Date.now());
    element.dataset.points = String(figure.data.reduce((sum, trace) => sum + (trace.x?.length || 0), 0));
  };

  const refresh = async (element) => {
    const state = asked.get(element) || {};
    asked.set(element, state);
    if (state.running) { state.again = true; return; }
    state.running = true;
    try {
      await needs;
      const answer = await fetch(element.dataset.src, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      await draw(element, await answer.json());
    } catch (error) {
      say(element, "err", `The chart could not be renewed (${error.message}); what you see is the last good reading.`);
    } finally {
      state.running = false;
      state.last = performance.now();
      if (state.again) { state.again = false; later(element); }
    }
  };

  const timers = new WeakMap();
  const later = (element) => {
    if (timers.has(element)) return;
    const since = performance.now() - (asked.get(element)?.last || 0);
    timers.set(element, setTimeout(() => {
      timers.delete(element);
      if (!document.hidden && element.isConnected) refresh(element);
    }, Math.max(0, 1000 - since)));
  };

  const all = () => plots().forEach(later);
  for (const topic of ["telemetry", "history", "census", "run"]) {
    document.addEventListener(`live:${topic}`, () => {
      plots().filter((element) => (element.dataset.topics || "").split(" ").includes(topic)).forEach(later);
    });
  }
  document.addEventListener("live:resync", all);
  document.addEventListener("htmx:afterSettle", () => plots().filter((element) => !asked.has(element)).forEach(later));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) all(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all); else all();
})();
