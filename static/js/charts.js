// Charts: each .plot asks its address for plain arrays and draws them in the page's own colours. It asks again when its
// topics change, when the stream comes back and when the tab becomes visible; a hidden tab asks nothing.
//
// <figure class="chart"><div class="plot" id=… data-src=… data-topics="telemetry history" data-marks="#marks"></div></figure>
// The answer is what hawkops/core/charts.py builds, or {"empty": sentence, "brings": sentence}. Plots with the same address
// share one request: its answer has a figure for each, by the name in data-figure.
"use strict";

(() => {
  const own = document.currentScript;
  const TOPICS = ["telemetry", "history", "census", "run", "patterns"];
  const EVERY = 1000; // ms: a chart asks at most once in this time; data-every says otherwise
  const ANYWAY = 30_000; // ms: without any event, so that a chart of a dead stream grows old instead of looking healthy
  const states = new WeakMap(); // .plot → { figure, drawn }
  const stateOf = (plot) => states.get(plot) ?? states.set(plot, {}).get(plot);
  const sources = new Map(); // address → { running, again, timer, last }
  const sourceOf = (src) => sources.get(src) ?? sources.set(src, { last: -Infinity }).get(src);
  const plots = () => [...document.querySelectorAll(".plot[data-src]")];
  const plotsOf = (src) => plots().filter((plot) => plot.dataset.src === src);

  // ---- what drawing needs, fetched when the first chart wants to draw ----

  let loading = null;
  const load = () => (loading ??= Promise.all([
    fetch(own.dataset.theme).then((answer) => answer.json()),
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = own.dataset.plotly;
      script.onload = resolve;
      script.onerror = () => reject(new Error("the chart library did not arrive"));
      document.head.append(script);
    }),
  ]).then(([theme]) => theme).catch((error) => { loading = null; throw error; }));

  // ---- colours: a role ("gpu", "target") is looked up in the page's theme ----

  const darkness = matchMedia("(prefers-color-scheme: dark)");
  const fingers = matchMedia("(pointer: coarse)");
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : darkness.matches;
  };
  const probe = document.createElement("i"); // light-dark() is only resolved on an element
  probe.hidden = true;
  const colour = (role) => {
    if (!/^[a-z][a-z0-9-]*$/.test(role) || !getComputedStyle(document.documentElement).getPropertyValue(`--${role}`)) return role;
    if (!probe.isConnected) document.body.append(probe);
    probe.style.color = `var(--${role})`;
    return getComputedStyle(probe).color;
  };
  const painted = (node, key = "") => {
    if (Array.isArray(node)) return ["x", "y", "text"].includes(key) ? node : node.map((one) => painted(one, key));
    if (node && typeof node === "object") {
      return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, painted(value, name)]));
    }
    return typeof node === "string" && /color$/i.test(key) ? colour(node) : node;
  };

  // ---- small pieces of the page beside the drawing ----

  const make = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "path", "rect", "use"].includes(tag);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const beside = (plot, css, tag) => {
    const figure = plot.closest("figure") ?? plot.parentElement;
    let found = figure.querySelector(`:scope > .${css}`);
    if (!found) {
      found = make(tag, { class: css });
      (figure.querySelector(":scope > .plot-legend") ?? plot).after(found);
    }
    return found;
  };

  const legend = (plot, figure) => {
    const shown = figure.data.filter((trace) => trace.name && !trace.meta?.silent);
    const END = ", simulated"; // said once where it is true of every line
    const all = shown.length > 1 && shown.every((trace) => trace.name.endsWith(END));
    beside(plot, "plot-legend", plot.closest("figure") ? "figcaption" : "p").replaceChildren(...shown.map((trace) => {
      const { style = "", thin = false, bar = false } = trace.meta ?? {};
      const sample = bar
        ? make("rect", { class: `bar ${style}`, x: 6, width: 8, height: 8, rx: 1 })
        : make("path", { class: `ln ${style} ${thin ? "thin" : ""}`, d: "M0 4h20" });
      const name = all ? trace.name.slice(0, -END.length) : trace.name;
      return make("span", {}, make("svg", { viewBox: "0 0 20 8", "aria-hidden": "true" }, sample), name);
    }), ...(all ? [make("span", {}, "all simulated")] : []));
  };

  const marks = (plot, figure) => {
    const list = plot.dataset.marks && document.querySelector(plot.dataset.marks);
    if (!list || !figure.marks) return; // a figure that doesn't know the changes leaves the list alone
    list.replaceChildren(...figure.marks.map((mark) => make(
      "li", {}, make("b", {}, mark.letter),
      mark.url ? make("a", { href: mark.url }, mark.text) : make("span", {}, mark.text),
    )));
    list.hidden = !figure.marks.length;
  };

  // On how much it rests and how old that is. The server says the age, a stopwatch lets it grow: clocks may be wrong.

  const THIN = "\u202f";
  const spoken = (total) => {
    const seconds = Math.max(0, Math.floor(total));
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    if (minutes < 1) return `${seconds}${THIN}s`;
    if (hours < 1) return `${minutes}${THIN}min${minutes < 10 && seconds % 60 ? ` ${seconds % 60}${THIN}s` : ""}`;
    return hours < 48 ? `${hours}${THIN}h${minutes % 60 ? ` ${minutes % 60}${THIN}min` : ""}` : `${Math.floor(hours / 24)}${THIN}d`;
  };
  const grow = (plot) => {
    const { figure, heardAt } = stateOf(plot);
    const { at, said_at: exact, age, due, sample, note } = figure?.foot ?? {};
    const line = beside(plot, "plot-foot", "p");
    line.hidden = !figure?.foot;
    if (line.hidden) return;
    const old = age == null ? null : age + (performance.now() - heardAt) / 1000;
    const late = old != null && due != null && old > due;
    const time = at && make("time", { datetime: at, title: exact }, old == null ? exact : `${spoken(old)} ago`);
    const words = [figure.empty ? "Last reported " : late ? "No news: as of " : "As of ", time ?? "no data"];
    if (late) words.push(`, expected within ${spoken(due)}`);
    for (const more of [sample, note]) if (more) words.push(` · ${more}`);
    const said = words.map((part) => part.textContent ?? part).join("");
    line.classList.toggle("late", late);
    if (line.textContent.trim() === said) return;
    const icon = late ? [make("svg", { class: "ico", "aria-hidden": "true" }, make("use", { href: `${own.dataset.icons}#stale` }))] : [];
    line.replaceChildren(...icon, ...words);
  };

  // The same readings as a table, built only when somebody opens it.
  const numbers = (plot) => {
    const details = beside(plot, "plot-numbers", "details");
    const write = () => {
      const { figure } = stateOf(plot);
      if (!details.open || !figure?.data) return;
      const series = figure.data.filter((trace) => trace.name && !trace.meta?.silent);
      const times = [...new Set(series.flatMap((trace) => trace.x))].sort().reverse().slice(0, 200);
      const at = series.map((trace) => new Map(trace.x.map((x, index) => [x, trace.y[index]])));
      const figureOf = (value) => (value == null ? "–" : Number(value.toPrecision(6)).toLocaleString("en-GB").replaceAll(",", "\u202f"));
      const head = make("tr", {}, make("th", { scope: "col" }, figure.layout.xaxis?.type === "date" ? "Time, UTC" : "Run"),
        ...series.map((trace) => make("th", { scope: "col", class: "num" }, `${trace.name}${figure.unit ? `, ${figure.unit}` : ""}`)));
      const rows = times.map((time) => make("tr", {}, make("th", { scope: "row" }, String(time).replace(/\.000$/, "")),
        ...at.map((values) => make("td", { class: "num" }, figureOf(values.get(time))))));
      details.querySelector(".scroll").replaceChildren(
        make("table", { class: "table dense-numbers" }, make("thead", {}, head), make("tbody", {}, ...rows)),
      );
    };
    if (!details.firstChild) {
      details.append(make("summary", {}, "Numbers"), make("div", { class: "scroll", tabindex: "0" }));
      details.addEventListener("toggle", write);
    }
    details.hidden = false;
    write();
  };

  const complain = (plot, words) => {
    const note = beside(plot, "plot-error", "div");
    note.hidden = !words;
    if (!words) return;
    const again = make("button", { class: "btn small", type: "button" }, "Try again");
    again.addEventListener("click", () => refresh(plot.dataset.src));
    note.className = "note err plot-error";
    const icon = make("svg", { class: "ico", "aria-hidden": "true" }, make("use", { href: `${own.dataset.icons}#error` }));
    note.replaceChildren(icon, make("span", {}, words), again);
  };

  const nothing = (plot, figure) => {
    const box = beside(plot, "plot-empty", "div");
    box.hidden = !figure.empty;
    if (!figure.empty) return;
    box.className = "empty plot-empty";
    const icon = make("svg", { class: "ico", "aria-hidden": "true" }, make("use", { href: `${own.dataset.icons}#nodata` }));
    box.replaceChildren(icon, make("h3", {}, figure.empty), ...(figure.brings ? [make("p", {}, figure.brings)] : []));
  };

  // ---- drawing ----

  const draw = async (plot, figure) => {
    const state = stateOf(plot);
    const frame = plot.closest(".chart") ?? plot;
    state.figure = figure;
    nothing(plot, figure);
    grow(plot);
    plot.hidden = Boolean(figure.empty);
    marks(plot, figure);
    if (figure.empty) {
      if (state.drawn) window.Plotly.purge(plot);
      state.drawn = false;
      frame.classList.remove("missed");
      for (const css of ["plot-legend", "plot-numbers"]) beside(plot, css, css === "plot-numbers" ? "details" : "figcaption").hidden = true;
      plot.dataset.points = "0";
      return;
    }
    const theme = await load();
    const layout = { ...painted(figure.layout), template: theme.templates[dark() ? "dark" : "light"], autosize: true, uirevision: plot.id };
    if (fingers.matches) layout.dragmode = false; // a finger on a chart scrolls the page
    await window.Plotly.react(plot, painted(figure.data), layout, { ...theme.config, displayModeBar: fingers.matches ? false : "hover" });
    state.drawn = true;
    frame.classList.toggle("missed", Boolean(figure.missed));
    if (figure.sentence) { plot.setAttribute("role", "figure"); plot.setAttribute("aria-label", figure.sentence); }
    legend(plot, figure);
    beside(plot, "plot-legend", "figcaption").hidden = false;
    numbers(plot);
    plot.dataset.drawnAt = String(Date.now());
    plot.dataset.points = String(figure.data.reduce((sum, trace) => sum + (trace.x?.length ?? 0), 0));
    plot.dispatchEvent(new CustomEvent("chart:drawn", { bubbles: true }));
  };

  // Equal steps travel as their first moment and their distance.
  const spread = (figure) => {
    for (const trace of figure.data ?? []) {
      if (trace.x || !trace.dx) continue;
      const start = Date.parse(trace.x0);
      trace.x = trace.y.map((_, index) => new Date(start + index * trace.dx).toISOString());
      delete trace.x0;
      delete trace.dx;
    }
    return figure;
  };

  const refresh = async (src) => {
    const source = sourceOf(src);
    if (source.running) { source.again = true; return; }
    source.running = true;
    source.last = performance.now();
    const each = async (what) => {
      for (const plot of plotsOf(src)) {
        try { await what(plot); } catch (error) { failed(plot, error); }
      }
    };
    const failed = (plot, error) => complain(plot, `This chart could not be read anew: ${error.message}.${stateOf(plot).drawn ? " It shows the last good reading." : ""}`);
    try {
      const answer = await fetch(src, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(20000) });
      if (!answer.ok || answer.redirected) throw new Error(answer.redirected ? "you are signed out" : `status ${answer.status}`);
      const told = await answer.json();
      const heardAt = performance.now();
      await each(async (plot) => {
        stateOf(plot).heardAt = heardAt;
        await draw(plot, spread(plot.dataset.figure ? told[plot.dataset.figure] : told));
        complain(plot, "");
      });
    } catch (error) {
      await each((plot) => failed(plot, error));
    } finally {
      source.running = false;
      if (source.again) { source.again = false; soon(src); }
    }
  };

  const soon = (src) => {
    const source = sourceOf(src);
    if (source.timer) return;
    const every = Math.max(EVERY, ...plotsOf(src).map((plot) => Number(plot.dataset.every) || 0));
    source.timer = setTimeout(() => {
      source.timer = 0;
      if (!document.hidden && plotsOf(src).length) refresh(src);
    }, Math.max(0, every - (performance.now() - source.last)));
  };
  const later = (plot) => { stateOf(plot); soon(plot.dataset.src); };

  const all = () => plots().forEach(later);
  const recolour = () => plots().forEach((plot) => { if (stateOf(plot).drawn) draw(plot, stateOf(plot).figure); });

  const live = (plot) => Boolean(plot.dataset.topics);
  setInterval(() => { if (!document.hidden) plots().filter(live).forEach(later); }, ANYWAY);
  setInterval(() => { if (!document.hidden) plots().filter((plot) => states.get(plot)?.figure).forEach(grow); }, 1000);
  for (const topic of TOPICS) {
    document.addEventListener(`live:${topic}`, () => {
      plots().filter((plot) => (plot.dataset.topics ?? "").split(" ").includes(topic)).forEach(later);
    });
  }
  document.addEventListener("live:resync", () => plots().filter(live).forEach(later));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) plots().filter((plot) => live(plot) || !stateOf(plot).figure).forEach(later); });
  document.addEventListener("htmx:afterSettle", () => plots().filter((plot) => !states.has(plot)).forEach(later));
  document.addEventListener("theme:chosen", recolour);
  darkness.addEventListener("change", recolour);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all); else all();
})();
