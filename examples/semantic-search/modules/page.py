"""One HTML page to search in, with everything in it: words find passages, and their meaning finds others like them."""
import json

from pipelinefile import module

PAGE = """<!doctype html>
<meta charset="utf-8"><title>Search</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }
input { font: inherit; width: 100%; padding: .4em; box-sizing: border-box }
article { margin: 1em 0; cursor: pointer } h2 { font-size: 1em; margin: 0 } p { margin: 0; color: #444 }
</style>
<input id="words" autofocus placeholder="words; click a passage for others like it">
<main id="found"></main>
<script>
const index = INDEX;
const bytes = Uint8Array.from(atob(index.vectors), c => c.charCodeAt(0));
const vectors = new Int8Array(bytes.buffer), size = vectors.length / Math.max(1, index.ids.length);
function like(seeds) {
  const mean = new Float32Array(size);
  for (const s of seeds) for (let i = 0; i < size; i++) mean[i] += vectors[s * size + i];
  const score = index.ids.map((_, n) => { let sum = 0; for (let i = 0; i < size; i++) sum += mean[i] * vectors[n * size + i]; return sum; });
  show([...score.keys()].sort((a, b) => score[b] - score[a]).slice(0, 20));
}
function show(list) {
  const main = document.getElementById("found");
  main.replaceChildren(...list.map(n => {
    const article = document.createElement("article"), head = document.createElement("h2"), text = document.createElement("p");
    head.textContent = index.ids[n]; text.textContent = index.texts[n].slice(0, 300);
    article.append(head, text); article.onclick = () => like([n]);
    return article;
  }));
}
document.getElementById("words").oninput = event => {
  const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const has = n => words.filter(w => index.texts[n].toLowerCase().includes(w)).length;
  const seeds = [...index.ids.keys()].map(n => [has(n), n]).filter(([k]) => k).sort((a, b) => b[0] - a[0]).slice(0, 5);
  seeds.length ? like(seeds.map(([, n]) => n)) : show([]);
};
</script>
"""


@module
def page(doc):
    data = json.dumps(doc.json(), ensure_ascii=False).replace("</", "<\\/")
    return PAGE.replace("INDEX", data, 1)
