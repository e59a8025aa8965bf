"use strict";
(() => {
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll(".plot")].map((element) => ({
    area: element.querySelector(".area"),
    select: element.querySelector(".views select"),
    figure: JSON.parse(element.querySelector("script.figure").textContent),
    views: JSON.parse(element.querySelector("script.views").textContent),
  }));
  const networks = document.getElementById("networks");
  let shown = networks ? Number(networks.dataset.first) : 0;

  // Colours are variables of the style sheet, which depend on the theme.
  const resolved = (value, styles) => {
    if (typeof value === "string") {
      const variable = /^var\((--[a-z0-9-]+)\)$/.exec(value);
      return variable ? styles.getPropertyValue(variable[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((inner) => resolved(inner, styles));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolved(inner, styles)]));
  };

  const setPath = (target, path, value) => {
    const keys = path.split(".");
    const last = keys.pop();
    keys.reduce((place, key) => place[key], target)[last] = value;
  };

  const ringShown = (data) => {
    const ring = data.find((trace) => trace.meta === "ring");
    const trace = data.find((one) => Array.isArray(one.customdata) && one.customdata.includes(shown));
    if (!ring || !trace) return;
    const index = trace.customdata.indexOf(shown);
    Object.assign(ring, { x: [trace.x[index]], y: [trace.y[index]] });
  };

  const draw = (plot) => {
    const styles = getComputedStyle(document.documentElement);
    const { data, layout } = resolved(plot.figure, styles);
    const view = plot.select && resolved(plot.views[plot.select.value], styles);
    if (view) {
      Object.entries(view.traces).forEach(([key, all]) => all.forEach((values, i) => { data[i][key] = values; }));
      Object.entries(view.layout).forEach(([path, value]) => setPath(layout, path, value));
    }
    ringShown(data);
    // A finger that drags scrolls the page; a mouse marks what is to be enlarged.
    layout.dragmode = window.matchMedia("(pointer: fine)").matches ? "zoom" : false;
    return Plotly.react(plot.area, data, layout, { responsive: true, displayModeBar: false });
  };

  const say = (text) => { document.getElementById("status").textContent = text; };

  const show = (number) => {
    shown = number;
    document.querySelectorAll(".network").forEach((one) => { one.hidden = one.id !== `network-${number}`; });
    document.querySelectorAll("button.show").forEach((button) => {
      button.setAttribute("aria-pressed", String(Number(button.dataset.network) === number));
    });
    plots.filter((plot) => plot.figure.data.some((trace) => trace.meta === "ring")).forEach(draw);
  };

  const choose = (number) => {
    show(number);
    const panel = document.getElementById(`network-${number}`);
    panel.scrollIntoView({ block: "nearest" });
    say(`${panel.querySelector("h3").textContent} is shown.`);
  };

  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      window.getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    say("The command is copied.");
    button.classList.add("copied");
    button.firstChild.textContent = "Copied";
    window.setTimeout(() => { button.firstChild.textContent = "Copy"; }, 2000);
  };

  plots.forEach((plot) => {
    draw(plot);
    plot.area.on("plotly_click", (event) => {
      const number = event.points.map((point) => point.customdata).find(Number.isInteger);
      if (number !== undefined) choose(number);
    });
    if (plot.select) plot.select.addEventListener("change", () => draw(plot));
  });
  document.querySelectorAll("button.show").forEach((button) => {
    button.addEventListener("click", () => choose(Number(button.dataset.network)));
  });
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copy(button)));
  scheme.addEventListener("change", () => plots.forEach(draw));
  if (networks) show(shown);
})();
