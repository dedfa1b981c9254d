// One live stream per browser. Visible tabs elect an owner with a Web Lock; the owner holds the stream and relays every
// event by BroadcastChannel; hidden tabs hold nothing. Browsers allow six connections per host: ten tabs must still kill.
//
// The page hears "live:<topic>" on <body>, only while it is visible and only for its own environment, and "live:resync"
// whenever something may have been missed: after a (re)connect, an election, and when the tab is seen again.
"use strict";

(() => {
  const { environment } = document.documentElement.dataset;
  if (!environment || !("EventSource" in window) || !("BroadcastChannel" in window)) return;

  const LOCK = "hawkops-live";
  const SPACING = 700; // ms between two events of one topic; the last of a burst always arrives
  const SILENT = 40_000; // ms: the server speaks every 15 s, so a stream silent for longer is dead
  const FORSAKEN = 60_000; // ms: an owner that relays nothing for so long (a hung tab) loses the stream to another
  const shared = Boolean(navigator.locks); // absent on plain-http addresses other than localhost: a stream for each tab

  const channel = new BroadcastChannel(LOCK);
  let stream = null; // the EventSource, in the tab that owns it
  let release = null; // ends our ownership
  let queued = null; // aborts our place among those who wait for it
  let retry = 0; // timer of the next attempt
  let failures = 0;
  let heardAt = Date.now();
  let state = "off";
  let level = false; // whether nothing that happened since the server drew this page can have been missed

  // ---- what this tab hears ----

  const last = new Map(); // topic → { at, timer, event }
  const emit = (event) => document.body.dispatchEvent(new CustomEvent(`live:${event.topic}`, { detail: event, bubbles: true }));
  const dispatch = (event) => {
    if (document.hidden || (event.environment && event.environment !== environment)) return;
    const known = last.get(event.topic) ?? last.set(event.topic, { at: -SPACING, timer: 0 }).get(event.topic);
    known.event = event;
    if (known.timer) return;
    const wait = SPACING - (performance.now() - known.at);
    const fire = () => {
      known.timer = 0;
      known.at = performance.now();
      if (!document.hidden) emit(known.event);
    };
    if (wait <= 0) fire(); else known.timer = setTimeout(fire, wait);
  };

  const show = () => {
    const mark = document.getElementById("live-mark");
    if (!mark) return;
    const silent = Math.round((Date.now() - heardAt) / 1000);
    const now = state === "on" && silent > 20 ? "quiet" : state;
    const words = { on: "live", quiet: `${silent}\u202fs old`, off: "reconnecting" }[now];
    if (mark.dataset.state !== now) mark.dataset.state = now;
    if (mark.textContent !== words) mark.textContent = words;
  };

  const hear = (event) => {
    heardAt = Date.now();
    if (event.topic === "state") state = event.state;
    else if (event.topic !== "still") dispatch(event);
    if (event.topic === "resync") level = true;
    show();
  };

  const tell = (event) => {
    if (shared) channel.postMessage(event);
    hear(event);
  };

  channel.onmessage = ({ data }) => {
    if (data.topic === "who") {
      if (stream) channel.postMessage({ topic: "state", state });
      return;
    }
    hear(data);
    // another tab's stream went on while this page was under way: what it said meanwhile was not heard here
    if (!level && data.topic === "state" && state === "on") hear({ topic: "resync" });
  };

  // ---- the stream, in the tab that owns it ----

  const shut = () => {
    clearTimeout(retry);
    stream?.close();
    stream = null;
  };

  const open = () => {
    shut();
    stream = new EventSource("/live");
    stream.onopen = () => {
      failures = 0;
      tell({ topic: "resync" }); // whatever happened while nobody listened
      tell({ topic: "state", state: "on" });
    };
    stream.onmessage = (message) => tell(JSON.parse(message.data));
    stream.onerror = () => {
      tell({ topic: "state", state: "off" });
      if (stream?.readyState !== EventSource.CLOSED) return; // it tries again by itself
      failures += 1; // refused: signed out, or the server restarts. Try again, more and more slowly
      clearTimeout(retry);
      retry = setTimeout(() => { if (release) open(); }, Math.min(30_000, 1000 * 2 ** failures) * (0.5 + Math.random() / 2));
    };
  };

  // ---- who owns it ----

  const compete = (steal = false) => {
    if (document.hidden || release || (queued && !steal)) return;
    if (!shared) { release = () => {}; open(); return; }
    queued?.abort();
    queued = steal ? null : new AbortController();
    let mine = null;
    navigator.locks.request(LOCK, steal ? { steal } : { signal: queued.signal }, () => {
      queued = null;
      if (document.hidden) return undefined;
      return new Promise((resolve) => {
        mine = release = resolve;
        open();
      });
    }).catch(() => {
      // Either we left the queue ourselves, or another tab took the lock from us because it heard nothing.
      if (!mine || mine !== release) return;
      release = null;
      shut();
      compete();
    });
  };

  const withdraw = () => {
    queued?.abort();
    queued = null;
    shut();
    release?.();
    release = null;
  };

  const arrive = () => {
    heardAt = Date.now();
    compete();
    if (shared) channel.postMessage({ topic: "who" });
    dispatch({ topic: "resync" });
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? withdraw() : arrive()));
  window.addEventListener("pagehide", withdraw);
  window.addEventListener("pageshow", (event) => { if (event.persisted) arrive(); });
  setInterval(() => {
    if (document.hidden) return;
    const silent = Date.now() - heardAt;
    if (release && state === "on" && silent > SILENT) { heardAt = Date.now(); open(); }
    else if (!release && shared && silent > FORSAKEN) { heardAt = Date.now(); compete(true); }
    show();
  }, 5000);

  // after htmx has found the parts: it waits for the same event, and its script stands before this one
  document.addEventListener("DOMContentLoaded", () => {
    compete();
    if (shared) channel.postMessage({ topic: "who" });
  });
})();
