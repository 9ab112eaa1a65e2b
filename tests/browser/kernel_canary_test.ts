/** Every defect of the stock kernel is mended in ours, under the clients that people use; the whole table: canary.ts. */
import assert from "node:assert/strict";
import { DEFECTS, type Outcome } from "../../experiments/kernel/defects.ts";
import { exists, venvProgram } from "../../lib/notebook/paths.ts";
import { inJupyterLab } from "../notebook/canary.ts";
import { kernelTests } from "../notebook/kernel_tests.ts";
import { makeKernelspecs, underNbclient } from "../notebook/nbclient.ts";
import { missingForBrowserTests } from "./lab.ts";

const full = Deno.env.has("TESSERA_FULL");
const nbclient = exists(venvProgram("jupyter-execute"));

function wrong(outcomes: Outcome[]): string[] {
  return outcomes.flatMap((outcome, d) => {
    const { right, seen } = DEFECTS[d].judge(outcome);
    return right ? [] : [`${DEFECTS[d].title}: ${seen}`];
  });
}

Deno.test(
  "our kernel has none of the stock kernel's defects under nbclient",
  { ignore: !full || !nbclient },
  async () => {
    using kernelspecs = makeKernelspecs();
    assert.deepEqual(wrong(await underNbclient("ours", DEFECTS, kernelspecs.folder)), []);
  },
);

Deno.test("our kernel has none of the stock kernel's defects in JupyterLab in a browser", {
  ignore: !full || missingForBrowserTests() !== undefined,
}, async () => {
  using kernelspecs = makeKernelspecs();
  assert.deepEqual(wrong(await inJupyterLab("ours", DEFECTS, kernelspecs.folder)), []);
});

Deno.test("our kernel passes the Jupyter project's tests for kernels", { ignore: !full || !nbclient }, async () => {
  using kernelspecs = makeKernelspecs();
  const { ours } = await kernelTests(kernelspecs.folder);
  assert.deepEqual(ours.failed, []);
  assert.ok(ours.passed.length >= 9, ours.passed.join(", "));
});
