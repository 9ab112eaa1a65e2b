import assert from "node:assert/strict";
import type { Notebook } from "../../lib/notebook/notebook.ts";
import { buildSite } from "../../lib/notebook/site_build.ts";
import { readReference } from "../../lib/notebook/site_reference.ts";
import { cellsHtml } from "../../lib/notebook/site_cells.ts";
import { type Heading, markdownHtml } from "../../lib/notebook/site_markdown.ts";
import { exists, walk } from "../../lib/notebook/paths.ts";

const reference = await readReference();

/** Builds the site into a folder of its own. */
function withSite(use: (folder: string, page: (name: string) => string) => void): void {
  const parent = Deno.makeTempDirSync({ prefix: "tessera-site-" });
  try {
    const folder = `${parent}/site`;
    buildSite(folder, undefined, reference);
    use(folder, (name) => Deno.readTextFileSync(`${folder}/${name}`));
  } finally {
    Deno.removeSync(parent, { recursive: true });
  }
}

Deno.test("every page links only to what the site holds, and names no address that a page would load", () => {
  withSite((folder) => {
    const files = walk(folder).map((path) => path.slice(folder.length + 1));
    const pages = files.filter((name) => name.endsWith(".html"));
    assert.ok(pages.includes("index.html") && pages.includes("notebooks/10_merge_or_prune.html"));
    assert.ok(pages.includes("api/reduction.html") && pages.includes("methods.html"));
    for (const name of pages) {
      const html = Deno.readTextFileSync(`${folder}/${name}`);
      assert.equal(html.match(/<(?:script|link|img|iframe|source)[^>]*(?:src|href)="https?:[^>]*>/)?.[0], undefined);
      for (const [, target] of html.matchAll(/<(?:a|img|script|link)\b[^>]*?\b(?:href|src)="([^"#]*)(?:#[^"]*)?"/g)) {
        if (target === "" || /^[a-z]+:/.test(target)) continue;
        const path = decodeURI(new URL(target, `file:///${name}`).pathname.slice(1));
        assert.ok(files.includes(path), `${name} links to ${target}`);
      }
      for (const [, anchor] of html.matchAll(/href="#([^"]+)"/g)) {
        assert.ok(html.includes(`id="${anchor}"`), `${name} has no #${anchor}`);
      }
    }
    const css = files.filter((name) => name.endsWith(".css")).map((name) => Deno.readTextFileSync(`${folder}/${name}`));
    assert.doesNotMatch(css.join(), /url\(["']?https?:/);
  });
});

Deno.test("a page holds words, code and outputs, and each figure's data lie in a file of their own", () => {
  withSite((folder, page) => {
    const html = page("notebooks/10_merge_or_prune.html");
    assert.match(html, /<h1 id="merge-or-prune">Merge or prune\?/);
    assert.match(html, /<span class="hljs-keyword">import<\/span>/);
    assert.match(html, /class="katex-display"/);
    assert.match(html, /<table>/);
    assert.match(html, /href="00_start\.html"/);
    const figures = html.match(/<figure class="plotly/g)?.length ?? 0;
    assert.ok(figures >= 5);
    assert.equal(
      walk(`${folder}/notebooks/10_merge_or_prune_figures`).filter((path) => path.endsWith(".js")).length,
      figures,
    );
    assert.match(page("notebooks/10_merge_or_prune_figures/figure-1.js"), /^tessera\.figure\("figure-1", \{/);
    assert.match(page("index.html"), /href="notebooks\/10_merge_or_prune\.html"/);
  });
});

Deno.test("the library, the methods and the evidence have pages, and the search knows them", () => {
  withSite((_, page) => {
    const api = page("api/reduction.html");
    assert.match(api, /<h3 id="tome"><code>tome<\/code>/);
    assert.match(api, /href="\.\.\/lib\/reduction\/tome\.ts\.html#L\d+"/);
    const methods = page("methods.html");
    for (const { method } of Object.values(reference.catalogues).flat()) {
      assert.ok(methods.includes(`id="method-${method}"`), String(method));
    }
    const index = page("index.html");
    for (const to of ["methods.html", "api/index.html", "experiments/README.html"]) {
      assert.ok(index.includes(`href="./${to}"`), to);
    }
    const search = page("assets/search_index.js");
    for (const word of ['"tome"', "methods.html", "Merge or prune?", "experiments/README.html"]) {
      assert.ok(search.includes(word), word);
    }
  });
});

Deno.test("a folder that something else has made is left alone, and our own is made anew", () => {
  withSite((folder) => {
    Deno.writeTextFileSync(`${folder}/old.html`, "");
    buildSite(folder, []);
    assert.ok(!exists(`${folder}/old.html`) && exists(`${folder}/index.html`));
    const theirs = `${folder}-theirs`;
    Deno.mkdirSync(theirs);
    Deno.writeTextFileSync(`${theirs}/thesis.tex`, "");
    assert.throws(() => buildSite(theirs), /exists already and was not made by this command; give another folder/);
    assert.deepEqual([...Deno.readDirSync(theirs)].map(({ name }) => name), ["thesis.tex"]);
    assert.throws(() => buildSite(folder, ["/nowhere/a.ipynb"]));
    assert.ok(exists(`${folder}/index.html`), "what was there stays when a notebook cannot be read");
  });
});

Deno.test("mathematics is what Jupyter takes for it; money and code are not", () => {
  assert.match(markdownHtml("$x$"), /katex/);
  assert.match(markdownHtml("a $$\\frac{1}{2}$$ b"), /katex-display/);
  for (const text of ["it costs $5 and $6", "`$x$`", "```\n$x$\n```", "from \\$x to y$", "$ x $"]) {
    assert.doesNotMatch(markdownHtml(text), /katex/, text);
  }
  const headings: Heading[] = [];
  assert.match(markdownHtml("# A `b`\n# A `b`", { heading: (heading) => headings.push(heading) }), /id="a-b-1"/);
  assert.deepEqual(headings.map(({ anchor }) => anchor), ["a-b", "a-b-1"]);
});

Deno.test("outputs are shown in their best form, and nothing in them runs", () => {
  const data = (bundle: Record<string, string>) => ({
    output_type: "display_data" as const,
    data: bundle,
    metadata: {},
  });
  const notebook: Notebook = {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {},
    cells: [{
      cell_type: "markdown",
      id: "a",
      metadata: {},
      source: "![dot](attachment:a%20dot.png)",
      attachments: { "a dot.png": { "image/png": "iVBORw0K\n" } },
    }, {
      cell_type: "code",
      id: "b",
      metadata: {},
      source: "1 < 2",
      execution_count: 3,
      outputs: [
        { output_type: "stream", name: "stderr", text: ["\x1b[31mred\x1b[0m <b>\n"] },
        { output_type: "error", ename: "RangeError", evalue: "too far", traceback: [] },
        data({ "text/html": '<b onclick="x()">bold</b><script>x()</script>', "text/plain": "bold" }),
        data({ "text/markdown": "**strong**", "text/plain": "strong" }),
        data({ "image/png": "AAAA\n", "text/plain": "a picture" }),
      ],
    }],
  };
  const { html } = cellsHtml(notebook, {});
  assert.match(html, /<img src="data:image\/png;base64,iVBORw0K" alt="dot"/);
  assert.match(html, /<pre class="stream stderr" tabindex="0">red &lt;b&gt;<\/pre>/);
  assert.match(html, /<pre class="error" tabindex="0">RangeError: too far<\/pre>/);
  assert.match(html, /<div class="wide" tabindex="0" role="region" aria-label="Table"><b>bold<\/b><\/div>/);
  assert.match(html, /<strong>strong<\/strong>/);
  assert.match(html, /<img src="data:image\/png;base64,AAAA" alt="a picture">/);
  assert.doesNotMatch(html, /<script|onclick/);
});
