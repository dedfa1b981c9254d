// A run's output: it stays at its end while somebody follows it, and stops following who scrolls up.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const output = document.getElementById("output");
  const follow = document.getElementById("follow");
  const live = () => document.getElementById("more")?.hasAttribute("hx-get");
  if (!output || !follow || !live()) return;

  const NEAR = 32; // px from the end that still count as the end
  const toEnd = () => { if (follow.checked) output.scrollTop = output.scrollHeight; };

  follow.checked = !location.hash;
  follow.closest("label").hidden = false;
  follow.addEventListener("change", toEnd);
  output.addEventListener("scroll", () => {
    follow.checked = output.scrollHeight - output.scrollTop - output.clientHeight < NEAR;
  });
  new MutationObserver(() => {
    toEnd();
    if (!live()) follow.closest("label").hidden = true;
  }).observe(output, { childList: true });
  toEnd();
});
