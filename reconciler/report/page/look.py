"""How the page looks: light and dark, on a phone and on paper. Colours never say what words do not."""

LOOK = """
:root {
  color-scheme: light dark;
  --ground: #f4f6f8; --surface: #fff; --text: #1a2028; --quiet: #535e6b; --line: #d8dee5; --strong: #828d9a;
  --accent: #1a55cc; --code: #eef1f4; --shade: #fdf0ef; --red: #b3261e; --green: #16703a; --amber: #8a5000;
  --violet: #6a42b8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11151a; --surface: #1a2027; --text: #e7ebf0; --quiet: #a5b0bd; --line: #2f3843; --strong: #7d8997;
    --accent: #86b4ff; --code: #262e37; --shade: #2b1d1f; --red: #ff938b; --green: #72d192; --amber: #f0b661;
    --violet: #bda9f7;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 0 1.25rem 3rem; max-width: 76rem; background: var(--ground); color: var(--text);
  font: 0.9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans",
    sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
h1, h2, h3 { line-height: 1.25; font-weight: 600; margin: 0; }
h1 { font-size: 1.0625rem; color: var(--quiet); padding-top: 1.5rem; }
h2 { font-size: 1.25rem; margin-bottom: 0.75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 0.5rem; }
p { margin: 0 0 0.5rem; }
ul { margin: 0 0 0.75rem; padding-left: 1.25rem; }
a { color: var(--accent); text-underline-offset: 0.15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
code { font: 0.8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
.headline { font-size: 1.75rem; line-height: 1.25; font-weight: 600; margin: 0.25rem 0 1rem; }
.verdict { font-weight: 600; }
.quiet, .about, caption, figcaption, dt { color: var(--quiet); }
.about { display: block; font-size: 0.8125rem; font-weight: 400; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

dl {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 9rem), 1fr));
  gap: 0.75rem 1.25rem; margin: 0 0 1rem;
}
dt { font-size: 0.8125rem; }
dd { margin: 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none; padding: 0; margin: 0 0 1rem; }
nav a { display: inline-block; padding: 0.35rem 0; }
section, .stopped {
  background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem;
  margin: 0 0 1.25rem;
}
.stopped { border-color: var(--red); background: var(--shade); }
.stopped p:first-child { font-weight: 600; }
footer { color: var(--quiet); font-size: 0.8125rem; }

.mark { display: inline-block; width: 1em; }
.status, .kind { font-weight: 600; font-size: 0.875rem; color: var(--tone, var(--quiet)); }
[data-s="COMPLETED"], [data-k="create"] { --tone: var(--green); }
[data-s="FAILED"], [data-s="UNKNOWN"], [data-s="GONE"], [data-k="cancel"], [data-k="blocked"] { --tone: var(--red); }
[data-s="RUNNING"], [data-k="adopt"], [data-k="move"] { --tone: var(--accent); }
[data-s="PREEMPTED"], [data-k="replace"], [data-k="retry"], [data-k="orphan"] { --tone: var(--amber); }
[data-s="ADMITTED"] { --tone: var(--violet); }

.actions { list-style: none; padding: 0; }
.actions > li { padding: 0.6rem 0; border-top: 1px solid var(--line); }
.actions p { margin: 0; }
ins, del { text-decoration: none; }
ins::before { content: "+ "; }
del::before { content: "- "; }
ins code { color: var(--green); }
del code { color: var(--red); }
summary { cursor: pointer; padding: 0.25rem 0; }
section > details { border-top: 1px solid var(--line); padding: 0.35rem 0; }
section > details > :not(summary) { margin-left: 1.1rem; }
.error { color: var(--red); font-weight: 600; }

.wide { overflow-x: auto; margin: 0.25rem 0 0.75rem; }
table { width: 100%; border-collapse: collapse; }
caption { text-align: left; font-size: 0.8125rem; padding-bottom: 0.35rem; }
th, td {
  text-align: left; vertical-align: top; padding: 0.4rem 0.75rem 0.4rem 0;
  border-top: 1px solid var(--line); font-weight: 400;
}
thead th, thead td { border-top: 0; color: var(--quiet); font-size: 0.8125rem; }
.wide td { min-width: 5.5rem; }
.wide thead th { overflow-wrap: break-word; }
.wide th[scope="row"], .changes td { min-width: 9rem; }
.wide td:last-child { min-width: 12rem; }
.changes th { width: 30%; }
.wide .events th[scope="row"] { min-width: 14.5rem; }
.number { text-align: right; white-space: nowrap; }

svg { display: block; width: 100%; overflow: visible; }
rect, path { vector-effect: non-scaling-stroke; }
.ran { fill: var(--tone, var(--strong)); stroke: var(--tone, var(--strong)); }
.waited, .earlier { fill: none; stroke: var(--strong); }
.earlier { stroke-dasharray: 4 3; }
.axis { display: flex; justify-content: space-between; gap: 0.5rem; }
.axis { white-space: nowrap; font-size: 0.8125rem; color: var(--quiet); }
.charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1rem 2.5rem; margin-bottom: 1.25rem;
}
.outcomes { table-layout: fixed; }
.outcomes td { padding-left: 0.5rem; padding-right: 0; }
.outcomes td:nth-child(2), .outcomes td:nth-child(3) { text-align: right; }
.outcomes thead th { width: 3.75rem; padding-right: 0; text-align: right; }
.outcomes thead th:first-child { width: 8rem; text-align: left; }
.outcomes svg { height: 1rem; margin-top: 0.2rem; }
figure { margin: 0; }
figcaption { font-size: 0.8125rem; padding-bottom: 0.6rem; }
.queue svg { height: 8rem; border-bottom: 1px solid var(--strong); }
.running { fill: var(--accent); opacity: 0.45; }
.waiting { fill: none; stroke: var(--amber); stroke-width: 2; }
.key { display: inline-block; width: 1rem; height: 0.8rem; margin: 0 0.35rem 0 0; vertical-align: -0.05rem; }
.key.running { background: var(--accent); }
.key.waiting {
  height: 0; border-top: 2px solid var(--amber); vertical-align: 0.25rem; margin-left: 0.75rem;
  opacity: 1;
}
.timeline th[scope="row"] { width: 24%; font-weight: 600; }
.timeline .bar { width: 42%; padding-right: 0; }
.timeline th[scope="row"], .timeline td:nth-child(2) { min-width: 9rem; }
.timeline td.bar { vertical-align: middle; }
.timeline .bar svg { height: 1rem; }
.timeline thead th { vertical-align: bottom; }
.timeline thead th:nth-child(3), .timeline thead th:nth-child(4) { text-align: right; }

@media (max-width: 52rem) {
  body { padding: 0 0.75rem 2rem; }
  section, .stopped { padding: 0.9rem; }
  .headline { font-size: 1.375rem; }
  .timeline, .timeline thead, .timeline tbody, .timeline caption { display: block; }
  .timeline tr { display: flex; flex-wrap: wrap; gap: 0.15rem 0.75rem; padding: 0.5rem 0; }
  .timeline tr { border-top: 1px solid var(--line); }
  .timeline th, .timeline td { border: 0; padding: 0; }
  .timeline th[scope="row"], .timeline .bar { flex: 0 0 100%; width: auto; min-width: 0; }
  .wide table, .wide tbody, .wide caption { display: block; min-width: 0; }
  .wide thead { position: absolute; clip-path: inset(50%); }
  .wide tr { display: flex; flex-wrap: wrap; gap: 0 0.75rem; padding: 0.4rem 0; border-top: 1px solid var(--line); }
  .wide tr > * { border: 0; padding: 0; min-width: 0 !important; width: auto; }
  .wide th[scope="row"], .wide td:last-child { flex: 0 0 100%; width: auto; }
  .timeline .number:not(:empty)::before { content: attr(data-of) " "; color: var(--quiet); font-size: 0.8125rem; }
  .timeline thead th:not(.bar) { display: none; }
  .timeline thead tr { border: 0; }
}
@media print {
  :root { --ground: #fff; font-size: 9pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  section { border: 0; padding: 0; }
  .wide { overflow: visible; }
  tr, li, figure { break-inside: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
  svg { print-color-adjust: exact; }
}
"""
