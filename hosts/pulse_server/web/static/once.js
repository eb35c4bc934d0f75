"use strict";
// What is shown once: a button that copies it; and it is gone from the page when the page is left, so that going back,
// which may bring the page itself back rather than load it again, does not show it again.
(() => {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const from = document.getElementById(button.dataset.copy);
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(from.textContent);
      button.textContent = "Copied";
    });
  }
  window.addEventListener("pagehide", () => {
    for (const secret of document.querySelectorAll(".secret")) secret.remove();
  });
})();
