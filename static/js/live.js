// One live stream per browser. Visible tabs elect an owner with a Web Lock; the owner holds the stream and relays every
// event by BroadcastChannel; hidden tabs hold nothing. Browsers allow six connections per host: ten tabs must still kill.
"use strict";

(() => {
  const environment = document.documentElement.dataset.environment;
  if (!environment || !("EventSource" in window) || !("BroadcastChannel" in window)) return;

  const channel = new BroadcastChannel("hawkops-live");
  let source = null; // the stream, in the tab that owns it
  let release = null; // ends our ownership
  let waiting = null; // aborts our place in the queue
  let lastHeard = 0;
  let failures = 0;
  let retry = 0;

  const mark = (state, words) => {
    const element = document.getElementById("live-mark");
    if (element) { element.dataset.state = state; element.textContent = words; }
  };

  const dispatch = (event) => {
    if (document.hidden || !document.body) return;
    if (event.environment && event.environment !== environment) return;
    document.body.dispatchEvent(new CustomEvent(`live:${event.topic}`, { detail: event, bubbles: true }));
  };

  const hear = (event) => {
    lastHeard = Date.now();
    if (event.topic === "state") mark(event.state, event.words);
    else dispatch(event);
  };

  const tell = (event) => { channel.postMessage(event); hear(event); };

  const open = () => {
    source = new EventSource("/live");
    source.onopen = () => {
      failures = 0;
      tell({ topic: "state", state: "on", words: "live" });
      tell({ topic: "resync" }); // whatever happened while nobody listened
    };
    source.onmessage = (message) => tell(JSON.parse(message.data));
    source.onerror = () => {
      tell({ topic: "state", state: "off", words: "reconnecting" });
      if (source && source.readyState === EventSource.CLOSED) {
        // refused (signed out, or the server restarts): try again, more and more slowly
        source.close();
        failures += 1;
        clearTimeout(retry);
        retry = setTimeout(() => { if (release) open(); }, Math.min(30000, 1000 * 2 ** failures) * (0.5 + Math.random()));
      }
    };
  };

  const compete = () => {
    if (release || waiting || document.hidden) return;
    if (!navigator.locks) { release = () => {}; open(); return; } // not a secure address: one stream a tab
    waiting = new AbortController();
    navigator.locks.request("hawkops-live", { signal: waiting.signal }, () => {
      waiting = null;
      if (document.hidden) return undefined;
      open();
      return new Promise((resolve) => { release = resolve; });
    }).catch(() => { waiting = null; });
  };

  const withdraw = () => {
    waiting?.abort();
    waiting = null;
    clearTimeout(retry);
    source?.close();
    source = null;
    release?.();
    release = null;
  };

  channel.onmessage = (message) => {
    if (message.data.topic === "who" && source) channel.postMessage({ topic: "state", state: "on", words: "live" });
    else if (message.data.topic !== "who") hear(message.data);
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      withdraw();
    } else {
      compete();
      dispatch({ topic: "resync" });
      channel.postMessage({ topic: "who" });
    }
  });
  window.addEventListener("pagehide", withdraw);
  window.addEventListener("pageshow", (event) => { if (event.persisted) { compete(); dispatch({ topic: "resync" }); } });
  // After a strip was exchanged the mark is new: say the state again.
  document.addEventListener("htmx:afterSettle", () => {
    if (source?.readyState === EventSource.OPEN || Date.now() - lastHeard < 20000) mark("on", "live");
  });
  compete();
  channel.postMessage({ topic: "who" });
})();
