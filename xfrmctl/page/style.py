"""How the page looks: the reader's own colours, one column, tables that become cards where it is narrow."""

import base64
import hashlib

STYLE = """\
:root { color-scheme: light dark; --ink: #1b2126; --dim: #5b6670; --paper: #fbfbfa; --card: #ffffff; --rule: #dcdfe2;
  --good: #1c6e42; --warn: #8a5a00; --bad: #b3261e; --in: #1f5fa8; --out: #a8501f; --link: #1f5fa8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8eb; --dim: #9aa5ae; --paper: #14181b; --card: #1b2024; --rule: #343b41;
    --good: #6fcf97; --warn: #e5b567; --bad: #ff8a80; --in: #7db3ee; --out: #eea97d; --link: #7db3ee; }
}
* { box-sizing: border-box; min-width: 0; }
body { margin: 0 auto; padding: 1.25rem 1.5rem 3rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
header { display: flex; flex-wrap: wrap; gap: .25rem 2rem; align-items: baseline; border-bottom: 1px solid var(--rule);
  padding-bottom: .75rem; }
header p, header nav { margin: 0; color: var(--dim); font-size: .9rem; }
header nav { margin-left: auto; }
nav { display: flex; flex-wrap: wrap; gap: .2rem .8rem; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0 0 .2rem; }
article > p { margin: 0; font-size: .9rem; }
.dim, figcaption { color: var(--dim); }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.state { display: inline-block; font-weight: 600; }
.state svg { width: .8em; height: .8em; margin-right: .45em; stroke: currentColor; stroke-width: 2; fill: none; }
.state svg * { stroke: inherit; }
.state .solid { fill: currentColor; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .9rem 1.5rem; margin: 1rem 0 0; }
dt { color: var(--dim); font-size: .82rem; }
dd { margin: 0; }
table { width: 100%; border-collapse: collapse; }
caption { text-align: left; color: var(--dim); padding-bottom: .4rem; font-size: .9rem; }
th, td { text-align: left; padding: .5rem .9rem .5rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { color: var(--dim); font-size: .82rem; font-weight: 600; overflow-wrap: normal; vertical-align: bottom; }
tbody th { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
td > div > svg[role] { width: 9rem; height: 1.9rem; display: block; }
.line { min-width: 8.5rem; }
.why { max-width: 26rem; }
section table { margin-top: .8rem; }
.card, figure { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: .9rem 1.1rem;
  margin: 0 0 .9rem; }
.card.error { border-left: 4px solid var(--bad); } .card.warning { border-left: 4px solid var(--warn); }
.card dl { grid-template-columns: 8rem minmax(0, 1fr); gap: .3rem 1rem; margin: .5rem 0 0; }
.card dt { font-size: .9rem; }
pre { margin: .2rem 0; white-space: pre-wrap;
  font: .86rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; }
.plots { margin-top: .9rem; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
figure { margin: 0; display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem .7rem; }
figcaption, figure p { grid-column: 1 / -1; margin: 0; font-size: .9rem; }
figcaption b { color: var(--ink); }
figure .key { margin-left: 1.1rem; white-space: nowrap; }
figure > svg { width: 100%; height: 6.5rem; }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; }
.scale, .time { font-size: .78rem; color: var(--dim); }
.time { grid-column: 2; display: flex; justify-content: space-between; }
.swatch { width: 20px; height: 8px; margin-right: .35rem; }
path, .swatch line { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; stroke: var(--ink); }
.grid { stroke: var(--rule); vector-effect: non-scaling-stroke; }
.in { stroke: var(--in) !important; } .out { stroke: var(--out) !important; stroke-dasharray: 5 3; }
.size { stroke: var(--ink) !important; }
footer { margin-top: 2.5rem; color: var(--dim); font-size: .85rem; }
@media (max-width: 62rem) {
  body { padding: 1rem; }
  header nav { margin-left: 0; }
  table, tbody, tr, td, tbody th { display: block; width: 100%; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { border-bottom: 1px solid var(--rule); padding: .6rem 0; }
  td, tbody th { border: 0; padding: .1rem 0; }
  td[data-label] { display: grid; grid-template-columns: 8rem minmax(0, 1fr); }
  td[data-label]::before { content: attr(data-label); color: var(--dim); font-size: .9rem; }
  td:has(> div:empty) { display: none; }
  caption { display: block; width: 100%; }
  .number { text-align: left; white-space: normal; }
  .card dl { grid-template-columns: minmax(0, 1fr); } .card dd { margin-bottom: .35rem; }
}
@media print { body { max-width: none; } nav { display: none; } }
"""

DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""Of the whole style sheet, for Content-Security-Policy: no other style is applied."""
