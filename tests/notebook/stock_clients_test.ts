/** Our notebooks under the stock Python clients: what nbclient and nbconvert compute is what our runner computes. */
import assert from "node:assert/strict";
import { notebookText, type Output, parseNotebook } from "../../lib/notebook/notebook.ts";
import { exists, root, venvBin, venvProgram } from "../../lib/notebook/paths.ts";
import { runNotebook } from "../../lib/notebook/run.ts";

const full = Deno.env.has("TESSERA_FULL");
const missing = exists(venvProgram("jupyter-execute")) ? undefined : "nbclient is not set up (deno task start does it)";
const NOTEBOOK = `${root}/notebooks/00_start.ipynb`;

/** Runs a program of the Python environment on a copy of the notebook that lies beside it. */
async function withCopy(use: (copy: string) => Promise<void>): Promise<void> {
  const copy = `${root}/notebooks/.stock-clients-${Deno.pid}.ipynb`;
  const notebook = parseNotebook(Deno.readTextFileSync(NOTEBOOK), NOTEBOOK);
  for (const cell of notebook.cells) {
    if (cell.cell_type === "code") Object.assign(cell, { outputs: [], execution_count: null });
  }
  Deno.writeTextFileSync(copy, notebookText(notebook));
  try {
    await use(copy);
  } finally {
    Deno.removeSync(copy);
  }
}

async function jupyter(program: string, args: string[]): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(venvProgram(program), {
    args,
    cwd: root,
    env: { PATH: `${venvBin}:${Deno.env.get("PATH")}` },
    signal: AbortSignal.timeout(180_000),
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.ok(success, `${program} ${args.join(" ")}: ${text}`);
}

/** The outputs of a notebook, cell by cell, without what a client adds of its own. */
function outputsOf(text: string): Output[][] {
  return parseNotebook(text, "a copy").cells.map(({ outputs = [] }) => outputs);
}

Deno.test("nbclient runs a notebook to the same outputs as our runner", {
  ignore: !full || missing !== undefined,
}, async () => {
  const ours = notebookText((await runNotebook(NOTEBOOK)).notebook);
  await withCopy(async (copy) => {
    await jupyter("jupyter-execute", ["--inplace", copy]);
    assert.deepEqual(outputsOf(Deno.readTextFileSync(copy)), outputsOf(ours));
  });
});

Deno.test("nbconvert runs a notebook and makes a page with its pictures and tables", {
  ignore: !full || missing !== undefined,
}, async () => {
  await withCopy(async (copy) => {
    const page = copy.replace(".ipynb", ".html");
    try {
      await jupyter("jupyter-nbconvert", ["--execute", "--to", "html", copy]);
      const html = Deno.readTextFileSync(page);
      assert.match(html, /<svg|data:image\/svg\+xml/);
      assert.match(html, /<table/);
      assert.doesNotMatch(html, /output_error|Traceback/);
    } finally {
      if (exists(page)) Deno.removeSync(page);
    }
  });
});
