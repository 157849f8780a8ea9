"use strict";
(() => {
  const root = document.documentElement;
  const folds = [...document.querySelectorAll("main details")];
  const plots = [...document.querySelectorAll(".plot")];
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const PRINTED = 690; // pixels, which A4 and Letter have between their margins

  const themes = JSON.parse(document.getElementById("themes").textContent);
  const isDark = () => (root.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

  // What a figure has of the page: its colours, and of the figure's two layouts the one for this width.
  const look = (layout, printed = false) => ({
    template: themes[isDark() && !printed ? "dark" : "light"],
    ...layout.meta?.[narrow.matches && !printed ? "narrow" : "wide"],
  });

  function put(layout, changes) {
    for (const [path, value] of Object.entries(changes)) {
      const keys = path.replace(/\[(\d+)\]/g, ".$1").split(".");
      const last = keys.pop();
      keys.reduce((part, key) => (part[key] ??= {}), layout)[last] = value;
    }
    return layout;
  }

  // Sentences: no line ends between a number and its sign, spread or unit, nor within `n = 5`, `p < .001` or `--seeds 7`.
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const unit = document.body.dataset.unit;
  const units = ["%", "[MG](?: MACs)?", "MACs", "ms", "s", "(?:percentage )?points?", "seeds?", "trials?", "SD"];
  const number = String.raw`[+−]?(?:\d[\d.,]*\d|\d|\.\d+)`;
  const whole = new RegExp(
    String.raw`(?:\b[npd] (?:[=<>≈→] )?|[<>≈=±] )?(?<![\w.])${number}(?: ± ${number})?` +
    String.raw`(?: (?:${[...units, ...(unit ? [escaped(unit)] : [])].join("|")})(?!\w))?|--[a-z][a-z-]*(?: \d+)?`, "g");
  function keepWhole(text) {
    const parts = [...text.data.matchAll(whole)].filter(([part]) => /[ -]/.test(part));
    for (const part of parts.reverse()) { // from the end, so that places before it stay what they are
      const rest = text.splitText(part.index);
      rest.splitText(part[0].length);
      const span = document.createElement("span");
      span.className = "whole";
      rest.replaceWith(span);
      span.append(rest);
    }
  }
  for (const sentence of document.querySelectorAll("p, li, figcaption, summary, caption, .group th")) {
    const texts = document.createTreeWalker(sentence, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) found.push(texts.currentNode);
    found.filter((text) => !text.parentElement.closest(".whole")).forEach(keepWhole);
  }

  // Figures: Plotly is unpacked once the page is shown, and each is drawn when it comes near.
  let library;
  const load = () => (library ??= unpack(document.getElementById("plotly").textContent));
  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  // Plotly's menus are for pointers alone; a list of the page's own is for the keyboard, too.
  function list(plot, layout) {
    const [menu] = layout.updatemenus ?? [];
    if (!menu) return;
    delete layout.updatemenus;
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.append(...menu.buttons.map((button) => new Option(button.label)));
    select.addEventListener("change", () => Plotly.update(plot, ...menu.buttons[select.selectedIndex].args));
    label.append(`${menu.name} `, select);
    plot.before(label);
  }

  const drawn = new Set();
  function draw(plot, size = {}) {
    if (drawn.has(plot)) return;
    drawn.add(plot);
    const { name } = plot.dataset;
    const { data, layout } = JSON.parse(document.getElementById(`plot-${name}`).textContent);
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls the page
    layout.height ??= plot.clientHeight;
    plot.style.height = "auto";
    list(plot, layout);
    Plotly.newPlot(plot, data, put(layout, { ...look(layout, "width" in size), ...size }), {
      responsive: true,
      displaylogo: false,
      showSendToCloud: false, // Plotly's button that would send the figure to its makers
      plotlyServerURL: "",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: name },
    });
  }
  const near = new IntersectionObserver(async (entries) => {
    const there = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    if (there.length === 0) return;
    await load();
    there.forEach((plot) => draw(plot));
  }, { rootMargin: "400px" });
  plots.forEach((plot) => near.observe(plot));
  if (plots.length > 0) addEventListener("load", () => setTimeout(load, 500)); // to be there when the page is printed
  const suit = () => drawn.forEach((plot) => Plotly.relayout(plot, look(plot.layout)));
  narrow.addEventListener("change", suit);

  // The theme: the reader's, unless the button says otherwise.
  const theme = document.getElementById("theme");
  const remembered = (action) => { try { return action(localStorage); } catch { return null; } };
  function setTheme(name) {
    if (name) root.dataset.theme = name;
    theme.setAttribute("aria-pressed", isDark());
    suit();
  }
  theme.addEventListener("click", () => {
    const name = isDark() ? "light" : "dark";
    remembered((storage) => storage.setItem("report-theme", name));
    setTheme(name);
  });
  prefersDark.addEventListener("change", () => setTheme());
  setTheme(remembered((storage) => storage.getItem("report-theme")));

  // Folds: all at once by the button, and those around whatever a link leads to.
  const fold = document.getElementById("fold");
  fold.addEventListener("click", () => {
    const open = folds.some((each) => !each.open);
    folds.forEach((each) => { each.open = open; });
    fold.textContent = open ? "Fold all" : "Open all";
  });
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target?.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("a[href^='#']")?.hash === location.hash) reveal();
  });
  if (location.hash) reveal();
  document.getElementById("contents").open = matchMedia("(min-width: 75rem)").matches;
  document.querySelector(".buttons").hidden = false;

  // Print: light, everything open, figures and tables no wider than paper.
  let restore = [];
  addEventListener("beforeprint", () => {
    const shut = folds.filter((each) => !each.open);
    shut.forEach((each) => { each.open = true; });
    const chosen = root.dataset.theme;
    root.dataset.theme = "light";
    if (window.Plotly) {
      plots.forEach((plot) => {
        if (drawn.has(plot)) Plotly.relayout(plot, { ...look(plot.layout, true), width: PRINTED });
        else draw(plot, { width: PRINTED });
      });
    }
    for (const table of document.querySelectorAll(".scroll table")) {
      const printed = table.scrollWidth * (8 / 72 * 96) / parseFloat(getComputedStyle(table).fontSize);
      table.style.setProperty("--print-zoom", Math.min(1, PRINTED / printed));
    }
    restore = [
      () => shut.forEach((each) => { each.open = false; }),
      () => { if (chosen) root.dataset.theme = chosen; else delete root.dataset.theme; },
      () => drawn.forEach((plot) => Plotly.relayout(plot, { ...look(plot.layout), width: null, autosize: true })),
    ];
  });
  addEventListener("afterprint", () => restore.splice(0).forEach((step) => step()));
})();
