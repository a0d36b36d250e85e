// Draws charts: lines over rounds or time with a band, and points. What to draw is JSON beside the element.
"use strict";
{
  const LOOKED_AT = 60; // so many points are shown as dots
  const NAMED = 8; // so many lines carry their names
  const LINE = 14; // so high is a name at the end of a line, in pixels
  const SLIDER = 100; // from so many points on, a part can be chosen below
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map(); // element -> {chart, box, text, watch}

  // --- colours, numbers, names --------------------------------------------------------------------

  function colours() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  }
  function font() {
    return getComputedStyle(document.body).fontFamily;
  }
  // A scale of round numbers around all values: {min, max, step}, or null where nothing is known.
  function scaleOf(values, share) {
    const known = values.filter((value) => Number.isFinite(value));
    if (!known.length) return null;
    let low = Infinity, high = -Infinity;
    for (const value of known) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (high === low) {
      const room = Math.abs(high) / 20 || 0.5;
      low -= room;
      high += room;
    }
    const step = roundStep((high - low) / 4);
    let min = Math.floor(low / step + 1e-9) * step, max = Math.ceil(high / step - 1e-9) * step;
    if (share) {
      min = Math.max(min, 0);
      max = Math.max(Math.min(max, 1), high);
    }
    return { min: neat(min), max: neat(max), step };
  }
  function roundStep(rough) {
    const power = 10 ** Math.floor(Math.log10(rough)), part = rough / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
  }
  function neat(value) {
    return Number(value.toPrecision(12));
  }
  // A value as text, exact enough for steps of this size.
  function writer(axis, step) {
    const size = axis.share ? step * 100 : step;
    const digits = Math.min(Math.max(Math.ceil(-Math.log10(size) - 1e-9), 0), 8);
    return (value, more = 0) => {
      if (!Number.isFinite(value)) return "–";
      if (axis.share) return `${(value * 100).toFixed(digits + more)} %`;
      const large = Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-4);
      if (large) return value.toExponential(1 + more);
      return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: more ? Math.max(digits + more, 3) : digits });
    };
  }
  // ECharts reads {style|text} as a style: a name is only a name.
  function plain(name) {
    return String(name).replaceAll("{", "{\u200b");
  }
  function shortened(name, most) {
    return name.length > most ? `${name.slice(0, most - 1)}…` : name;
  }
  function width(text, size = 12) {
    const pen = (width.pen ??= document.createElement("canvas").getContext("2d"));
    pen.font = `${size}px ${font()}`;
    return pen.measureText(text).width;
  }
  function timeText(milliseconds) {
    return new Date(milliseconds).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }

  // --- lines --------------------------------------------------------------------------------------

  // The places on x where nothing was measured become gaps: where a round is missing, null is put in.
  function spaced(data) {
    const xs = [], from = [];
    const whole = !data.x.time && !data.sampled;
    data.x.values.forEach((x, index) => {
      const before = data.x.values[index - 1];
      if (whole && index && x > before + 1) {
        xs.push(before + 1);
        from.push(-1);
      }
      xs.push(data.x.time ? x * 1000 : x);
      from.push(index);
    });
    return { xs, pick: (values) => from.map((index) => (index < 0 ? null : values[index] ?? null)) };
  }
  function isAlone(values, index) {
    return values[index] != null && values[index - 1] == null && values[index + 1] == null;
  }
  function linesOption(data, narrow) {
    const colour = colours(), { xs, pick } = spaced(data);
    const lines = data.series.map((one, index) => ({
      ...one,
      values: pick(one.values),
      band: one.band && { low: pick(one.band.low), high: pick(one.band.high), name: one.band.name || "clients" },
      colour: colour(`series-${(index % 6) + 1}`),
    }));
    const marks = data.marks || [];
    const all = lines.flatMap((one) => [...one.values, ...(one.band ? [...one.band.low, ...one.band.high] : [])]);
    const scale = scaleOf([...all, ...marks.map((mark) => mark.y)], data.y.share);
    if (!scale) return null;
    const write = writer(data.y, scale.step);
    const named = lines.length <= NAMED;
    const most = narrow ? 10 : 22;
    const carries = (one) => lines.length > 1 && (named || !one.faint);
    const ends = lines.filter(carries).map((one) => width(shortened(one.name, most)));
    const right = Math.max(lines.length === 1 ? width(write(scale.max, 1)) : 0, ...ends, 8) + 14;
    const slider = xs.length > SLIDER && !narrow;
    const moved = apart(lines.filter(carries), xs, scale, data.high - 56 - (slider ? 30 : 0));
    return {
      ...common(colour),
      grid: gridOf(right, data, slider),
      xAxis: xAxis(data.x, xs, colour),
      yAxis: yAxis(data.y, scale, write, colour),
      dataZoom: zooms(slider, colour),
      tooltip: {
        ...tooltip(colour),
        trigger: "axis",
        axisPointer: { type: "line", lineStyle: { color: colour("line-strong") } },
        formatter: (at) => saidAt(at, data, xs, lines, marks, write),
      },
      series: [
        ...lines.flatMap((one, index) => (one.band ? [bandSeries(one, index, xs)] : [])),
        ...lines.map((one) => lineSeries(one, { xs, carries, most, write, colour, moved })),
        ...(marks.length ? [markSeries(marks, data.x, colour)] : []),
      ],
    };
  }
  function lineSeries(one, { xs, carries, most, write, colour, moved }) {
    const dots = one.values.filter((value) => value != null).length <= LOOKED_AT;
    const last = one.values.findLast((value) => value != null);
    return {
      id: `line-${one.name}`,
      name: one.name,
      type: "line",
      data: xs.map((x, at) => [x, one.values[at]]),
      z: one.faint ? 2 : 4,
      color: one.colour,
      lineStyle: { width: one.faint ? 1 : 2, opacity: one.faint ? 0.4 : 1 },
      itemStyle: { opacity: one.faint ? 0.6 : 1 },
      symbol: "circle",
      showSymbol: true,
      symbolSize: (_, { dataIndex }) => (isAlone(one.values, dataIndex) ? 6 : dots && !one.faint ? 4 : 0),
      emphasis: { disabled: true },
      endLabel: {
        show: carries(one) || !one.faint,
        formatter: () => (carries(one) ? plain(shortened(one.name, most)) : write(last, 1)),
        color: one.faint ? colour("faint") : one.colour,
        fontWeight: one.faint ? 400 : 600,
        distance: 6,
        offset: [0, moved.get(one) || 0],
      },
    };
  }
  // Names at the end of lines that end close together are moved apart: how far each, in pixels.
  function apart(lines, xs, scale, high) {
    const ends = lines.map((one) => {
      const at = one.values.findLastIndex((value) => value != null);
      return { one, at, y: at < 0 ? 0 : ((scale.max - one.values[at]) / (scale.max - scale.min)) * high };
    });
    const near = (a, b) => Math.abs(xs[a.at] - xs[b.at]) < (xs.at(-1) - xs[0]) / 6 || a.at === b.at;
    const placed = [], ordered = ends.filter(({ at }) => at >= 0).sort((a, b) => a.y - b.y);
    for (const end of ordered) {
      const above = placed.filter((other) => near(other, end)).map((other) => other.now + LINE);
      placed.push(Object.assign(end, { now: Math.max(end.y, ...above) }));
    }
    let most = high + LINE;
    for (const end of placed.reverse()) {
      end.now = Math.min(end.now, most);
      if (end.now > end.y || most < high + LINE) most = end.now - LINE;
    }
    return new Map(placed.map(({ one, now, y }) => [one, now - y]));
  }
  // One polygon a piece without gaps: down along the upper edge, back along the lower.
  function bandSeries(one, index, xs) {
    const pieces = [[]];
    xs.forEach((x, at) => {
      const low = one.band.low[at], high = one.band.high[at];
      if (low == null || high == null) pieces.push([]);
      else pieces.at(-1).push([x, low, high]);
    });
    const shown = pieces.filter((piece) => piece.length);
    return {
      id: `band-${one.name}`,
      type: "custom",
      silent: true,
      clip: true,
      z: 1,
      data: shown.map((piece) => [piece[0][0], piece[0][1]]),
      tooltip: { show: false },
      renderItem: ({ dataIndex }, api) => {
        const piece = shown[dataIndex];
        const upper = piece.map(([x, , high]) => api.coord([x, high]));
        const lower = piece.map(([x, low]) => api.coord([x, low])).reverse();
        const points = piece.length > 1 ? [...upper, ...lower] : slab(upper[0], lower[0]);
        return { type: "polygon", shape: { points }, style: { fill: one.colour, opacity: 0.14 } };
      },
    };
  }
  function slab([x, top], [, bottom]) {
    return [[x - 3, top], [x + 3, top], [x + 3, bottom], [x - 3, bottom]];
  }
  function markSeries(marks, x, colour) {
    return {
      id: "marks",
      type: "line",
      data: [],
      silent: true,
      markLine: {
        silent: true,
        symbol: "none",
        animation: false,
        lineStyle: { color: colour("faint"), type: "dashed", width: 1 },
        label: { color: colour("faint"), fontFamily: font(), fontSize: 11, distance: 4 },
        data: marks.map((mark) => ({
          ...(mark.y === undefined ? { xAxis: x.time ? mark.x * 1000 : mark.x } : { yAxis: mark.y }),
          label: { formatter: plain(shortened(mark.text, 28)), ...besides(mark, x.values) },
        })),
      },
    };
  }
  // Inside, below the top, on the side where there is room: above it stands the name of the axis.
  function besides(mark, values) {
    if (mark.y !== undefined) return { position: "insideStartTop" };
    const isRight = mark.x - values[0] > (values.at(-1) - values[0]) * 0.75;
    return { position: "end", distance: [0, -4], align: isRight ? "right" : "left", verticalAlign: "top", padding: [0, 4] };
  }
  // What a hover says: the round, then each line, the highest first.
  function saidAt(params, data, xs, lines, marks, write) {
    const at = params[0]?.axisValue;
    const index = xs.indexOf(at);
    if (index < 0) return "";
    const where = data.x.time ? timeText(at) : `${data.x.name} ${at}`;
    const known = lines.filter((one) => one.values[index] != null);
    const missing = lines.filter((one) => one.values[index] == null && !one.faint);
    known.sort((a, b) => Boolean(a.faint) - Boolean(b.faint) || b.values[index] - a.values[index]);
    const room = Math.max(Math.floor((data.high - 40) / 18) - 2, 3); // so many lines are told of
    const said = known.slice(0, room).map((one) => {
      const band = one.band && one.band.low[index] != null
        ? `  (${plain(one.band.name)} ${write(one.band.low[index], 1)} to ${write(one.band.high[index], 1)})` : "";
      return `${plain(shortened(one.name, 40))}  ${write(one.values[index], 1)}${band}`;
    });
    if (known.length > room) said.push(`and ${known.length - room} more`);
    const marked = marks.filter((mark) => mark.y === undefined && (data.x.time ? mark.x * 1000 : mark.x) === at);
    return [
      where,
      ...said,
      ...missing.map((one) => `${plain(one.name)}  –`),
      ...marked.map((mark) => plain(mark.text)),
    ].join("\n");
  }

  // --- points -------------------------------------------------------------------------------------

  const SHAPES = { good: "circle", soon: "triangle", now: "diamond" };
  function scatterOption(data, narrow) {
    const colour = colours();
    const tones = { good: colour("good"), soon: colour("soon-bright"), now: colour("now") };
    const reach = data.points.flatMap(({ y, error }) => [y - (error || 0), y + (error || 0)]);
    const across = scaleOf(data.points.map((point) => point.x), data.x.share);
    const up = scaleOf(reach, data.y.share);
    if (!across || !up) return null;
    const writeX = writer(data.x, across.step), write = writer(data.y, up.step);
    const points = data.points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
    const most = narrow ? 12 : 24;
    return {
      ...common(colour),
      grid: gridOf(24, data, false),
      xAxis: {
        ...axisLook(colour),
        type: "value",
        min: across.min,
        max: across.max,
        interval: across.step,
        name: data.x.name + beginning(across, writeX),
        nameLocation: "middle",
        nameGap: 26,
        splitLine: { show: false },
        axisLabel: { color: colour("faint"), hideOverlap: true, formatter: (value) => writeX(value) },
      },
      yAxis: yAxis(data.y, up, write, colour),
      dataZoom: [],
      tooltip: {
        ...tooltip(colour),
        trigger: "item",
        formatter: ({ dataIndex }) => {
          const { name, x, y, error } = points[dataIndex];
          const spread = error ? ` ± ${write(error, 1)}` : "";
          return `${plain(name)}\n${plain(data.x.name)}  ${writeX(x, 1)}\n${plain(data.y.name)}  ${write(y, 1)}${spread}`;
        },
      },
      series: [
        {
          id: "errors",
          type: "custom",
          silent: true,
          z: 1,
          data: points.filter((point) => point.error).map(({ x, y, error, tone }) => [x, y, error, tone]),
          dimensions: ["x", "y", "error", "tone"],
          encode: { x: 0, y: 1 },
          renderItem: (_, api) => {
            const [x, y, error] = [api.value(0), api.value(1), api.value(2)];
            const [left, top] = api.coord([x, y + error]), [, bottom] = api.coord([x, y - error]);
            const bar = (x1, y1, x2, y2) => ({
              type: "line", shape: { x1, y1, x2, y2 }, style: { stroke: colour("line-strong"), lineWidth: 1.5 },
            });
            return {
              type: "group",
              children: [
                bar(left, top, left, bottom),
                bar(left - 3, top, left + 3, top),
                bar(left - 3, bottom, left + 3, bottom),
              ],
            };
          },
        },
        {
          id: "points",
          type: "scatter",
          symbolSize: 11,
          data: points.map(({ x, y, tone }) => ({
            value: [x, y],
            symbol: SHAPES[tone] || "circle",
            itemStyle: { color: tones[tone] || colour("series-1") },
          })),
          label: {
            show: points.length <= LOOKED_AT,
            position: "right",
            color: colour("text"),
            fontFamily: font(),
            formatter: ({ dataIndex }) => plain(shortened(points[dataIndex].name, most)),
          },
          // At the right edge, a name stands on the other side of its point.
          labelLayout: ({ rect, labelRect }) => {
            const over = labelRect.x + labelRect.width > data.wide;
            return over ? { x: rect.x - 4, align: "right", hideOverlap: true } : { hideOverlap: true };
          },
        },
      ],
    };
  }

  // --- what both have -----------------------------------------------------------------------------

  function common(colour) {
    return {
      animation: false,
      backgroundColor: "transparent",
      textStyle: { fontFamily: font(), fontSize: 12, color: colour("text") },
    };
  }
  function gridOf(right, data, slider) {
    return { left: 8, right, top: 30, bottom: (data.kind === "scatter" ? 26 : 6) + (slider ? 30 : 0), containLabel: true };
  }
  function axisLook(colour) {
    return {
      axisLine: { lineStyle: { color: colour("line-strong") } },
      axisTick: { show: false },
      nameTextStyle: { color: colour("faint"), fontSize: 12 },
    };
  }
  function xAxis(x, xs, colour) {
    const alone = xs.length === 1 && !x.time;
    return {
      ...axisLook(colour),
      type: x.time ? "time" : "value",
      min: alone ? xs[0] - 1 : xs[0],
      max: alone ? xs[0] + 1 : xs.at(-1),
      minInterval: x.time ? undefined : 1,
      splitLine: { show: false },
      axisLabel: {
        color: colour("faint"),
        hideOverlap: true,
        ...(x.time ? {} : { formatter: (value) => (Number.isInteger(value) && !(alone && value !== xs[0]) ? String(value) : "") }),
      },
    };
  }
  function beginning(scale, write) {
    return scale.min > 0 ? ` (axis from ${write(scale.min)})` : scale.max < 0 ? ` (axis to ${write(scale.max)})` : "";
  }
  function yAxis(y, scale, write, colour) {
    return {
      ...axisLook(colour),
      type: "value",
      min: scale.min,
      max: scale.max,
      interval: scale.step,
      name: shortened(y.name, 30) + beginning(scale, write),
      nameLocation: "end",
      nameGap: 12,
      nameTextStyle: { color: colour("faint"), fontSize: 12, align: "left", padding: [0, 0, 0, -20] },
      axisLine: { show: false },
      splitLine: { lineStyle: { color: colour("line") } },
      axisLabel: { color: colour("faint"), formatter: (value) => write(value) },
    };
  }
  // The wheel scrolls the page; with Ctrl it looks closer.
  function zooms(slider, colour) {
    const inside = { id: "inside", type: "inside", filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false, preventDefaultMouseMove: false };
    if (!slider) return [inside];
    return [inside, {
      id: "slider",
      type: "slider",
      filterMode: "none",
      height: 18,
      bottom: 4,
      brushSelect: false,
      showDataShadow: false,
      borderColor: colour("line"),
      backgroundColor: "transparent",
      fillerColor: colour("working-soft"),
      handleStyle: { color: colour("card"), borderColor: colour("line-strong") },
      moveHandleStyle: { color: colour("line-strong") },
      textStyle: { color: colour("faint"), fontSize: 11 },
      labelFormatter: "",
    }];
  }
  function tooltip(colour) {
    return {
      renderMode: "richText",
      confine: true,
      transitionDuration: 0,
      backgroundColor: colour("card"),
      borderColor: colour("line-strong"),
      padding: [8, 12],
      textStyle: { color: colour("text"), fontFamily: font(), fontSize: 12, lineHeight: 18 },
    };
  }

  // --- the elements -------------------------------------------------------------------------------

  const KINDS = { lines: linesOption, scatter: scatterOption };

  function draw(element, force = false) {
    const text = document.getElementById(element.dataset.chart)?.textContent ?? "null";
    let known = drawn.get(element);
    if (known && known.text === text && !force) return;
    const data = JSON.parse(text);
    if (data) [data.wide, data.high] = [element.clientWidth, element.clientHeight];
    const option = data && KINDS[data.kind](data, element.clientWidth < 480);
    if (!option) {
      forget(element);
      return;
    }
    if (!known) drawn.set(element, (known = begin(element)));
    const again = known.text !== undefined;
    known.text = text;
    known.chart.setOption(option, again ? { replaceMerge: ["series"] } : undefined);
  }
  // The chart has a box of its own: what is in it before, a picture for those without scripts, goes.
  function begin(element) {
    const box = document.createElement("div");
    box.className = "chart-box";
    element.replaceChildren(box);
    const chart = echarts.init(box, null, { renderer: "canvas" });
    const watch = new ResizeObserver(() => {
      if (!box.clientWidth || (chart.getWidth() === box.clientWidth && chart.getHeight() === box.clientHeight)) return;
      chart.resize();
      draw(element, true);
    });
    watch.observe(box);
    return { chart, box, watch };
  }
  function forget(element) {
    const known = drawn.get(element);
    if (!known) return;
    known.watch.disconnect();
    known.chart.dispose();
    known.box.remove();
    drawn.delete(element);
  }
  function drawAll(force) {
    for (const element of [...drawn.keys()]) if (!element.isConnected) forget(element);
    for (const element of document.querySelectorAll("[data-chart]")) draw(element, force);
  }

  document.addEventListener("panel", () => drawAll(false));
  document.addEventListener("theme", () => drawAll(true));
  dark.addEventListener("change", () => drawAll(true));
  drawAll(false);
  // For tests, and for whoever looks into a page.
  fedops.charts = drawn;
}
