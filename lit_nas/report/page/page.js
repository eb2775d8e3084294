"use strict";
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"];
  const DASHES = ["solid", "dash", "dot"];
  const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };

  const data = (mark) => JSON.parse(document.getElementById(mark).textContent);
  const kept = {};
  const alphas = (mark) => (kept[mark] ||= data(mark));

  /** Colours of the page, and room for names outside of the plot. */
  function layout(own) {
    const style = getComputedStyle(document.documentElement);
    const [text, line] = ["--text", "--line"].map((name) => style.getPropertyValue(name).trim());
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    const { title, ...rest } = own;
    return {
      ...(title && { title: { ...title, x: 0, xanchor: "left", xref: "paper", font: { size: 15 } } }),
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, size: 12 },
      margin: { l: 50, r: 12, t: 44, b: 44 },
      hoverlabel: { namelength: -1 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: text, activecolor: text },
      legend: { orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom" },
      ...rest,
      xaxis: { ...axis, ...own.xaxis },
      yaxis: { ...axis, ...own.yaxis },
    };
  }

  /** An axis of epochs or steps, which are whole numbers. */
  function whole(title, numbers) {
    const range = numbers.reduce((a, b) => Math.max(a, b), 0) - numbers.reduce((a, b) => Math.min(a, b), Infinity);
    return { title: { text: title }, tickformat: "d", ...(range > 8 ? { nticks: 9 } : { dtick: 1 }) };
  }

  function figure(div) {
    const found = data(div.dataset.topic)[div.dataset.name];
    const numbers = found.data.flatMap((trace) => trace.x);
    const xaxis = whole(found.layout.xaxis.title.text, numbers);
    const yaxis = { tickformat: "~g", ...found.layout.yaxis };
    return [found.data, layout({ ...found.layout, xaxis, yaxis, showlegend: true })];
  }

  function heat(div) {
    const all = alphas(div.dataset.alphas);
    const cell = all.cells[Number(div.dataset.cell)];
    const slider = document.querySelector(`input.epoch[data-alphas="${div.dataset.alphas}"]`);
    const flat = cell.values.flat(2).filter((value) => value !== null);
    const trace = {
      type: "heatmap",
      x: cell.operations,
      y: cell.edges,
      z: cell.values[Number(slider.value)],
      zmin: flat.reduce((a, b) => Math.min(a, b), 1),
      zmax: flat.reduce((a, b) => Math.max(a, b), 0),
      colorscale: "Cividis",
      xgap: 1,
      ygap: 1,
      colorbar: { thickness: 12, len: 1, outlinewidth: 0 },
      hovertemplate: "%{y}, %{x}: %{z:.4f}<extra></extra>",
    };
    const axes = { xaxis: { tickangle: -45, type: "category" }, yaxis: { autorange: "reversed", type: "category" } };
    return [[trace], layout({ ...axes, margin: { l: 50, r: 0, t: 34, b: 10 } })];
  }

  function trajectory(div) {
    const all = alphas(div.dataset.alphas);
    const select = document.querySelector(`select.edge[data-alphas="${div.dataset.alphas}"]`);
    const [number, edge] = select.value.split(",").map(Number);
    const cell = all.cells[number];
    const traces = cell.operations
      .map((name, o) => ({
        type: "scatter",
        mode: all.epochs.length > 1 ? "lines" : "markers",
        name,
        x: all.epochs,
        y: cell.values.map((table) => table[edge][o]),
        line: { color: COLOURS[o % COLOURS.length], dash: DASHES[Math.floor(o / COLOURS.length) % DASHES.length], width: 2 },
        marker: { color: COLOURS[o % COLOURS.length] },
      }))
      .filter((trace) => trace.y.some((value) => value !== null));
    const title = { text: `${cell.name}: ${cell.edges[edge]}` };
    const axes = { xaxis: whole("epoch", all.epochs), yaxis: { tickformat: "~g" } };
    return [traces, layout({ title, ...axes, showlegend: true })];
  }

  function draw(div) {
    const make = div.classList.contains("heat") ? heat : div.classList.contains("trajectory") ? trajectory : figure;
    Plotly.react(div, ...make(div), CONFIG);
    div.dataset.drawn = "true";
  }

  const visible = (div) => {
    const parts = [];
    for (let at = div.closest("details"); at; at = at.parentElement.closest("details")) parts.push(at);
    return parts.every((part) => part.open);
  };
  const drawAll = (within, again) =>
    within.querySelectorAll(".plot").forEach((div) => {
      if (visible(div) && (again || !div.dataset.drawn)) draw(div);
    });

  document.querySelectorAll("input.epoch").forEach((slider) =>
    slider.addEventListener("input", () => {
      const mark = slider.dataset.alphas;
      slider.parentElement.querySelector("output").value = alphas(mark).epochs[Number(slider.value)];
      document.querySelectorAll(`.heat[data-alphas="${mark}"]`).forEach(draw);
    }),
  );
  document.querySelectorAll("select.edge").forEach((select) =>
    select.addEventListener("change", () =>
      document.querySelectorAll(`.trajectory[data-alphas="${select.dataset.alphas}"]`).forEach(draw),
    ),
  );
  document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", () => drawAll(part, false)));
  dark.addEventListener("change", () => drawAll(document, true));
  drawAll(document, false);
})();
