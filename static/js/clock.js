// The clock after a kill goes on between two answers of the server: from the seconds that it said, not from this browser's
// own clock, which may be wrong.
"use strict";

(() => {
  const heard = new WeakMap(); // the element → when it came, by the time that only runs forward
  const written = (total) => {
    const seconds = Math.floor(total % 60);
    const minutes = Math.floor(total / 60) % 60;
    const hours = Math.floor(total / 3600);
    const two = (value) => String(value).padStart(2, "0");
    return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
  };
  const tick = () => {
    for (const clock of document.querySelectorAll("[data-clock]")) {
      if (!heard.has(clock)) heard.set(clock, performance.now());
      if (document.hidden) continue;
      const elapsed = Number(clock.dataset.clock) + (performance.now() - heard.get(clock)) / 1000;
      const words = written(elapsed);
      if (clock.textContent !== words) clock.textContent = words;
      clock.classList.toggle("is-over", elapsed > Number(clock.dataset.limit));
    }
  };
  document.addEventListener("htmx:afterSettle", tick);
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, 250);
  tick();
})();
