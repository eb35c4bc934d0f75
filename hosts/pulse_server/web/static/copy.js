"use strict";
// Puts a button to each line that is there to be copied. Without this file one selects it by hand.
(() => {
  if (!navigator.clipboard) return;
  for (const line of document.querySelectorAll("pre.copyable")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button plain copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(line.textContent);
      button.textContent = "Copied";
    });
    line.after(button);
  }
})();
