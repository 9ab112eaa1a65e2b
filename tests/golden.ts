/**
 * `deno task golden`: holds the library against the authors' numbers, one line per case: `ok NAME`, `FAIL NAME why`,
 * or `unknown NAME` for a family that is not implemented. `GOLDEN=folder` reads another folder of the same schema.
 *
 * @module
 */
import { setUpBeforeImports, withSetUpErrors } from "../lib/notebook/setup.ts";

await withSetUpErrors(async () => {
  if (Deno.args.includes("--help")) {
    console.log("GOLDEN=folder deno task golden: one line per case: ok NAME, FAIL NAME why, unknown NAME");
    return 0;
  }
  await setUpBeforeImports({ pythonOptional: true });
  return await checkCases();
});

async function checkCases(): Promise<number> {
  // only now: before set-up there is no TensorFlow.js to import
  const { goldenFolder, readCases } = await import("./golden/cases.ts");
  const { families, runCase } = await import("./golden/families.ts");

  const cases = readCases(goldenFolder());
  const count = { ok: 0, FAIL: 0, unknown: 0 };
  for (const entry of cases) {
    const family = Object.hasOwn(families, entry.name) ? families[entry.name] : undefined;
    let verdict: keyof typeof count = "unknown", why = "";
    if (family) {
      try {
        await runCase(family, entry, cases);
        verdict = "ok";
      } catch (error) {
        verdict = "FAIL";
        why = ` ${error instanceof Error ? error.message.split("\n")[0] : error}`;
      }
    }
    count[verdict]++;
    console.log(`${verdict} ${entry.name}${why}`);
  }
  const { ok, FAIL, unknown } = count;
  console.error(`${cases.length} cases: ${ok} ok, ${FAIL} failed, ${unknown} of families not implemented`);
  return FAIL ? 1 : 0;
}
