"""The report's style sheet: light and dark by the reader's own setting, readable on paper and on narrow screens.

The curves' colours are Okabe and Ito's, which colour-blind readers tell apart; severities are also said in words.
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1e21; --faint: #5c6570; --line: #d8dde3; --panel: #f6f7f9;
  --c0: #0072b2; --c1: #d55e00; --c2: #007a5a; --error: #c0271b; --warning: #9a6200; --note: #3f6ea3;
  --error-shade: #e5484d55; --warning-shade: #f0a20050; --note-shade: #5b8def38; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --faint: #a0a9b4; --line: #343b44;
  --panel: #1c2127; --c0: #58b4ea; --c1: #f08a3c; --c2: #35c79b; --error: #ff7a70; --warning: #f2b544; --note: #8fbaf0;
  --error-shade: #ff5a5066; --warning-shade: #f2b54450; --note-shade: #8fbaf038; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
header p, section > p { margin: 0 0 .6rem; color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; min-width: 4rem; }
thead th { color: var(--faint); font-weight: 600; }
tbody th { font-weight: 500; white-space: nowrap; }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font-size: .85rem; white-space: nowrap; }
.badge { font-weight: 600; white-space: nowrap; }
.badge.error { color: var(--error); } .badge.warning { color: var(--warning); } .badge.note { color: var(--note); }
.badge.error::before { content: "● "; } .badge.warning::before { content: "▲ "; } .badge.note::before { content: "○ "; }
figure { margin: 0 0 .9rem; }
figcaption { font-size: .85rem; color: var(--faint); }
.key { margin-left: 1rem; }
.key::before { content: ""; display: inline-block; width: 1.1rem; height: 3px; margin-right: .35rem;
  vertical-align: 4px; }
.k0::before { background: var(--c0); } .k1::before { background: var(--c1); } .k2::before { background: var(--c2); }
svg { display: block; width: 100%; height: auto; background: var(--panel); border-radius: 4px; }
svg path { fill: none; } .grid { stroke: var(--line); stroke-width: 1; }
.axis { fill: var(--faint); font-size: 10px; font-variant-numeric: tabular-nums; }
.c0, .c1, .c2 { stroke-width: 1.4; stroke-linejoin: round; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); }
rect.error { fill: var(--error-shade); }
rect.warning { fill: var(--warning-shade); } rect.note { fill: var(--note-shade); }
td.words { min-width: 14rem; }
.frames { display: grid; gap: .9rem; }
.frames.narrow { grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); }
.frame img { display: block; width: 100%; height: auto; border-radius: 4px; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""
