// A run's output: it stays at its end while somebody follows it, and stops following who scrolls up. The words that were
// searched for are marked in the lines that the server found.
"use strict";

const marked = (output, wanted) => {
  const words = new RegExp(wanted.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "giu");
  let count = 0;
  for (const line of output.querySelectorAll("li > span")) {
    const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) found.push(texts.currentNode);
    for (const text of found) {
      const parts = [];
      let from = 0;
      for (const { 0: word, index } of text.data.matchAll(words)) {
        const mark = document.createElement("mark");
        mark.textContent = word;
        parts.push(text.data.slice(from, index), mark);
        from = index + word.length;
        count += 1;
      }
      if (parts.length) text.replaceWith(...parts, text.data.slice(from));
    }
  }
  return count;
};

document.addEventListener("DOMContentLoaded", () => {
  const output = document.getElementById("output");
  const said = document.getElementById("places");
  if (!output?.dataset.wanted || !said) return;
  const count = marked(output, output.dataset.wanted);
  said.textContent = `, ${count} place${count === 1 ? "" : "s"} marked`;
});

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
