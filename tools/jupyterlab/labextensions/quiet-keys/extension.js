/* JupyterLab knows neither the bibliography nor the figures' numbers, and shows their keys as errors, in orange and
   with a warning sign. They are no errors of the reader's: here a key is a quiet name. */
const quietKeys = {
  id: "quiet-keys",
  autoStart: true,
  activate() {
    const style = document.createElement("style");
    style.textContent = `
      .jp-Notebook .myst span.text-yellow-600 { color: var(--jp-ui-font-color2); }
      .jp-Notebook .myst span.text-yellow-600 > svg { display: none; }`;
    document.head.append(style);
  },
};
// What JupyterLab asks of a prebuilt extension: a container whose one module is the plugin.
window._JUPYTERLAB["quiet-keys"] = {
  init() {},
  get: async () => () => ({ __esModule: true, default: quietKeys }),
};
