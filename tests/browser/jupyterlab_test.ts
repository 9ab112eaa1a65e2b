/**
 * What a reader does: opens `10_merge_or_prune` in JupyterLab, runs all cells, looks at the figures. One session for all
 * of it, since starting costs most.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Cell, notebookText, readNotebook, sourceOf } from "../../lib/notebook/notebook.ts";
import { root } from "../../lib/notebook/paths.ts";
import { backend } from "../../lib/tensor/mod.ts";
import { type CellState, Lab, missingForBrowserTests, type NotebookPage } from "./lab.ts";

const NOTEBOOK = "notebooks/10_merge_or_prune.ipynb";
const PICTURE_TITLE = "Four methods, eight tokens removed in each block";
const PLOTLY = "application/vnd.plotly.v1+json";
const RUN_LIMIT_MS = 150_000;

/** A copy beside the notebook, because the import map is found from the kernel's folder upwards. */
function copyOf(path: string, change: (cell: Cell) => Cell): string {
  const notebook = readNotebook(`${root}/${path}`);
  const copy = `notebooks/.browser-test-${randomBytes(4).toString("hex")}.ipynb`;
  Deno.writeTextFileSync(`${root}/${copy}`, notebookText({ ...notebook, cells: notebook.cells.map(change) }));
  return copy;
}

/** Without outputs, and saving its picture where no tracked file is. */
function fresh(cell: Cell, folder: string): Cell {
  const source = sourceOf(cell).replaceAll('"pictures/', `"${folder}/`);
  return cell.cell_type === "code" ? { ...cell, source, outputs: [], execution_count: null } : cell;
}

const indicesOfFigures = (cells: CellState[]) =>
  cells.flatMap(({ outputs }, index) => outputs.some(({ data }) => data?.[PLOTLY]) ? [index] : []);

/** Looks at each figure of a notebook: it must have been drawn by plotly, not shown as a picture. */
async function titlesOfLiveFigures(notebook: NotebookPage): Promise<string[]> {
  const titles: string[] = [];
  for (const index of indicesOfFigures(await notebook.cells())) {
    const figure = (await notebook.show(index)).locator(".js-plotly-plot");
    await figure.locator(".main-svg").first().waitFor();
    titles.push(await figure.locator(".gtitle").textContent() ?? "");
    await notebook.screenshot(`cell_${index}`);
  }
  return titles;
}

const missing = missingForBrowserTests() ??
  (backend.name === "tensorflow" ? undefined : `on ${backend.name} the notebook takes minutes`);
if (missing) console.log(`The browser test is skipped: ${missing}.`);

Deno.test("10_merge_or_prune runs in JupyterLab in a browser, and its figures are live", {
  ignore: missing !== undefined,
}, async (t) => {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-browser-" });
  const copies: string[] = [];
  let lab: Lab | undefined;
  try {
    copies.push(copyOf(NOTEBOOK, (cell) => fresh(cell, folder)), copyOf(NOTEBOOK, (cell) => cell));
    const [toRun, toLookAt] = copies;
    lab = await Lab.start();
    const running = await lab.open(toRun);
    await running.startAllCells();

    await t.step("saved figures are live in a file that nobody trusts", async () => {
      const looking = await lab!.open(toLookAt);
      const trusted = (await looking.cells()).filter((cell) => cell.type === "code" && cell.trusted);
      assert.equal(trusted.length, 0);
      const titles = await titlesOfLiveFigures(looking);
      assert.ok(titles.length >= 5 && titles.includes(PICTURE_TITLE), titles.join("; "));
      await looking.page.close();
    });

    const cells = await running.whenAllHaveRun(RUN_LIMIT_MS);
    const code = cells.filter(({ type }) => type === "code");

    const ran = await t.step("Run All runs each cell once, in order, without an error", () => {
      const errors = cells.flatMap(({ outputs }, index) =>
        outputs.filter(({ output_type }) => output_type === "error").map(({ evalue }) => `cell ${index + 1}: ${evalue}`)
      );
      assert.deepEqual(errors, []);
      assert.deepEqual(code.map(({ executionCount }) => executionCount), code.map((_, index) => index + 1));
    });
    if (!ran) return; // the steps below would only wait in vain

    await t.step("its figures are live, and the token picture is among them", async () => {
      const saved = readNotebook(`${root}/${NOTEBOOK}`).cells.filter(({ outputs }) =>
        outputs?.some((output) => "data" in output && output.data[PLOTLY])
      );
      const titles = await titlesOfLiveFigures(running);
      assert.equal(titles.length, saved.length);
      assert.ok(titles.includes(PICTURE_TITLE), titles.join("; "));
      assert.ok(Deno.statSync(`${folder}/merge_or_prune.svg`).size > 1000);
    });

    await t.step("the slider of the token picture changes what is shown", async () => {
      const index = cells.findIndex(({ outputs }) => JSON.stringify(outputs).includes('"sliders"'));
      const figure = (await running.show(index)).locator(".js-plotly-plot");
      const caption = figure.locator(".annotation-text").first();
      const shown = await caption.textContent();
      const rail = figure.locator(".slider-rail-touch-rect");
      const box = (await rail.boundingBox())!;
      await rail.click({ position: { x: 2, y: box.height / 2 } });
      await caption.filter({ hasText: "nothing is reduced" }).waitFor();
      assert.notEqual(await caption.textContent(), shown);
      await running.screenshot("slider_at_0");
    });

    await t.step("unsolved exercises show their circle and a hint", async () => {
      const exercises = cells.flatMap(({ outputs }, index) =>
        outputs.some(({ data }) => String(data?.["text/plain"]).startsWith("○")) ? [index] : []
      );
      assert.equal(exercises.length, 3);
      for (const index of exercises) {
        const cell = await running.show(index);
        await cell.getByText(/○ .*not solved yet/).waitFor();
      }
    });

    await t.step("nothing outside this machine was asked for", () => assert.deepEqual(lab!.asked, []));
  } finally {
    try {
      await lab?.close();
    } finally {
      for (const copy of copies) Deno.removeSync(`${root}/${copy}`);
      Deno.removeSync(folder, { recursive: true });
    }
  }
});
