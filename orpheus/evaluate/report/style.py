"""Looks and behaviour of report.html: its style sheet and its script."""

STYLE = """
:root { color-scheme:light dark; --ink:#1f2937; --soft:#5b6472; --line:#d9dee5; --card:#fff; --head:#f1f5f9; --page:#f8fafc; --good:#047857; --bad:#b91c1c; --warn:#b45309;
 --on:#d1fae5; --onink:#065f46; --off:#fee2e2; --offink:#991b1b; --0:#2563eb; --1:#d97706; --2:#059669; --3:#9333ea; --4:#dc2626; --5:#0891b2 }
@media (prefers-color-scheme:dark) {
 :root { --ink:#e5e7eb; --soft:#a3acb9; --line:#3b4656; --card:#1f2937; --head:#273244; --page:#111827; --good:#34d399; --bad:#f87171; --warn:#fbbf24;
 --on:#064e3b; --onink:#d1fae5; --off:#7f1d1d; --offink:#fee2e2; --0:#60a5fa; --1:#fbbf24; --2:#34d399; --3:#c084fc; --4:#f87171; --5:#22d3ee }
}
* { box-sizing:border-box }
[hidden] { display:none !important }
body { font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; color:var(--ink); background:var(--page); margin:0 }
main { max-width:1180px; margin:0 auto; padding:28px 20px 80px }
h1 { font-size:26px; margin:0 0 4px } h2 { font-size:19px; margin:36px 0 10px } h3 { font-size:14px; margin:0 0 6px }
p, li { max-width:85ch; overflow-wrap:anywhere } small, .soft { color:var(--soft) } small { font-weight:400; font-size:13px }
.verdict { background:var(--card); border:1px solid var(--line); border-left:4px solid var(--0); border-radius:8px; padding:10px 16px; margin:14px 0 }
.verdict p { margin:4px 0; font-size:16px }
.dot { display:inline-block; width:10px; height:10px; border-radius:50%; margin-right:7px; background:var(--c) }
.better { color:var(--good); font-weight:600 } .worse { color:var(--bad); font-weight:600 }

.scroll { overflow-x:auto; border:1px solid var(--line); border-radius:8px; background:var(--card) }
.scroll:focus-visible { outline:2px solid var(--0) } .hint { display:none; margin:0 0 6px } .hint.on { display:block }
table { border-collapse:collapse; width:100% }
th, td { text-align:left; vertical-align:top; padding:6px 12px; border-bottom:1px solid var(--line); font-variant-numeric:tabular-nums }
thead th { background:var(--head); font-weight:600; overflow-wrap:anywhere; min-width:110px } tbody th { font-weight:400; min-width:130px; max-width:330px } .figures tbody th { min-width:230px }
tr:last-child > * { border-bottom:0 } td { white-space:nowrap } td small, th small { display:block } td.name { white-space:normal; overflow-wrap:anywhere; min-width:110px }
summary { cursor:pointer; margin:36px 0 10px } summary h2 { display:inline; margin:0 }

.panels { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,270px),1fr)); gap:12px }
.panel { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:10px 14px; min-width:0; overflow-wrap:anywhere; print-color-adjust:exact; -webkit-print-color-adjust:exact }
.clouds { display:flex; flex-wrap:wrap; gap:12px; align-items:flex-start } .wide { flex:1 1 420px; max-width:640px } .panel h3 small { display:block }
.line { font-size:13px; overflow-wrap:anywhere; display:flex; justify-content:space-between; gap:10px } .line span:last-child { white-space:nowrap; font-variant-numeric:tabular-nums }
.track { position:relative; height:14px; margin:0 6px 6px }
.track::before { content:""; position:absolute; left:-6px; right:-6px; top:6px; border-top:1px solid var(--line) }
.track i { position:absolute; top:4px; height:6px; border-radius:3px; min-width:2px; background:var(--c); opacity:.45 }
.track b { position:absolute; top:1px; width:12px; height:12px; margin-left:-6px; border-radius:50%; background:var(--c) }
.ticks { position:relative; height:18px; margin:0 6px; font-size:12px; color:var(--soft); border-top:1px solid var(--line) }
.ticks span { position:absolute; transform:translateX(-50%); white-space:nowrap } .ticks span:first-child { transform:translateX(-6px) } .ticks span:last-child { transform:translateX(calc(-100% + 6px)) }
.bar { height:10px; border-radius:3px; background:var(--line); margin:2px 0 8px; overflow:hidden } .bar i { display:block; height:100%; background:var(--c) }
.cloud { position:relative; height:240px; margin:6px 4px 0 34px; border-left:1px solid var(--line); border-bottom:1px solid var(--line) }
.cloud a { position:absolute; width:9px; height:9px; margin:0 0 -4px -4px; border-radius:50%; background:var(--c); opacity:.75 }
.cloud a:hover, .cloud a:focus-visible { outline:2px solid var(--ink); opacity:1 }
.cloud span { position:absolute; right:calc(100% + 6px); transform:translateY(50%); font-size:12px; color:var(--soft); white-space:nowrap } .cloud hr { position:absolute; left:0; right:0; margin:0; border:0; border-top:1px solid var(--line); opacity:.5 }
.cloud + .ticks { margin:5px 4px 0 34px; border:0 }

.tools { display:flex; gap:10px; flex-wrap:wrap; margin:12px 0; position:sticky; top:0; background:var(--page); padding:8px 0; z-index:1 }
.tools input, .tools select { font:inherit; padding:6px 10px; border:1px solid var(--line); border-radius:6px; background:var(--card); color:inherit; min-width:0; max-width:100% }
.tools input { flex:1 1 200px }
article { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:12px 16px; margin:0 0 12px; scroll-margin-top:70px }
article:target { border-color:var(--0); box-shadow:0 0 0 1px var(--0) }
article > p { margin:0 0 8px; font-weight:600; max-width:none } article > p small { margin-inline-start:8px }
.take { display:grid; grid-template-columns:300px minmax(0,1fr); gap:6px 18px; padding:8px 0; border-top:1px solid var(--line); overflow-wrap:anywhere }
.take audio { width:300px; height:40px; display:block } .take img { width:300px; height:72px; display:block; border-radius:4px; margin-top:6px; background:#000 }
.facts { color:var(--soft); font-size:13px; font-variant-numeric:tabular-nums }
del { color:var(--bad) } ins { color:var(--warn); text-decoration:none; font-weight:600 } .sub { color:var(--bad) } .sub b { color:var(--warn); font-weight:600 }
.chip { display:inline-block; border-radius:99px; padding:0 9px; font-size:13px; margin-inline-end:6px; background:var(--on); color:var(--onink) } .chip.off { background:var(--off); color:var(--offink) }
@media (max-width:760px) {
 main { padding:18px 12px 60px }
 .take { grid-template-columns:minmax(0,1fr) } .take audio, .take img { width:100% }
 .tools { flex-wrap:nowrap } .tools input { flex:1 1 0 } .tools select { flex:1 1 0; padding:6px 2px }
 .scroll { border:0; background:none; overflow:visible } .scroll table, .scroll tbody { display:block } .scroll thead { display:none }
 .scroll tr { display:grid; grid-template-columns:repeat(2,minmax(0,1fr)); background:var(--card); border:1px solid var(--line); border-radius:8px; margin:0 0 8px; padding:6px 0 }
 .scroll tr > * { border:0; padding:4px 12px; white-space:normal; overflow-wrap:anywhere; min-width:0; max-width:none }
 .scroll tbody th { grid-column:1 / -1; font-weight:600; min-width:0 }
 .scroll td.none { display:none }
 td[data-of]::before { content:attr(data-of); display:block; font-size:12px; color:var(--soft) } td.name::before { content:none }
 .hint.on { display:none }
}
"""

SCRIPT = """
const list = document.querySelector('#rows'), all = [...list.children];
const find = document.querySelector('#find'), order = document.querySelector('#order'), kind = document.querySelector('#kind');
function show() {
  const words = find.value.toLowerCase();
  const key = order.value;
  all.sort((a, b) => key === 'index' ? a.dataset.index - b.dataset.index : b.dataset[key] - a.dataset[key] || a.dataset.index - b.dataset.index);
  for (const row of all) {
    row.hidden = !(row.dataset.text.includes(words) && (!kind.value || row.dataset.kind === kind.value));
    list.append(row);
  }
}
for (const control of [find, order, kind]) control.addEventListener('input', show);
document.addEventListener('click', event => {
  if (!event.target.closest('.cloud a')) return;
  find.value = kind.value = '';
  show();
});
document.addEventListener('play', event => {
  for (const other of document.querySelectorAll('audio')) if (other !== event.target) other.pause();
}, true);
function hints() {
  for (const box of document.querySelectorAll('.scroll')) box.previousElementSibling.classList.toggle('on', box.scrollWidth > box.clientWidth + 1);
}
addEventListener('resize', hints);
document.addEventListener('toggle', hints, true);
hints();
"""
