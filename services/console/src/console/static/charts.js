// Charts: <div data-chart data-x="2026-12-01,…" data-y="3,…" data-label="Jobs">. What they show stands beside them as a sentence and a table.
const source = document.querySelector("script[data-uplot]").dataset.uplot;
const { default: Plot } = await import(source);
const HEIGHT = 220;

function draw(place) {
  const style = getComputedStyle(place);
  const colour = (name) => style.getPropertyValue(name).trim();
  const days = place.dataset.x.split(",").map((day) => Date.parse(`${day}T12:00:00Z`) / 1000);
  const counts = place.dataset.y.split(",").map(Number);
  const language = document.documentElement.lang;
  const short = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: "UTC" });
  const axis = { stroke: colour("--muted-foreground"), grid: { stroke: colour("--border"), width: 1 }, ticks: { show: false } };
  place.replaceChildren();
  new Plot(
    {
      width: place.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, points: { show: false } },
      tzDate: (seconds) => new Date(seconds * 1000),
      scales: { x: { time: true }, y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [
        { ...axis, grid: { show: false }, space: 70, values: (_plot, at) => at.map((seconds) => short.format(seconds * 1000)) },
        { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000], values: (_plot, at) => at.map((value) => value.toLocaleString(language)) },
      ],
      series: [
        {},
        { label: place.dataset.label, fill: colour("--primary"), stroke: colour("--primary"), width: 0, paths: Plot.paths.bars({ size: [0.7, 28], radius: 0.15 }), points: { show: false } },
      ],
    },
    [days, counts],
    place,
  );
}

function drawAll() {
  for (const place of document.querySelectorAll("[data-chart]")) draw(place);
}
drawAll();
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  drawAll();
});
new MutationObserver(drawAll).observe(document.documentElement, { attributes: true, attributeFilter: ["class", "data-theme"] });
