"use strict";
// Puts a button to each line that is there to be copied. What is shown once is gone from the page when the page is left:
// going back, which may bring the page itself back rather than load it again, does not show it again.
(() => {
  for (const line of navigator.clipboard ? document.querySelectorAll("pre.copyable") : []) {
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
  window.addEventListener("pagehide", () => {
    for (const secret of document.querySelectorAll(".secret")) secret.remove();
  });
})();
