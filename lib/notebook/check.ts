/**
 * `deno task check [--fix]`: format, lint, types of everything (the cells of notebooks and the examples in doc comments
 * too), arrows between folders, and links, with the place of each mistake. Nothing is executed but the test of the arrows.
 *
 * @module
 */
import { setUpBeforeImports, withSetUpErrors } from "./setup.ts";

const USAGE = `Usage: deno task check [--fix] [NOTEBOOK...]

Looks at everything without running it: format, lint, types of lib, tests, experiments, of the cells of notebooks and of
the examples in doc comments, imports between folders, links in Markdown and notebooks.
  --fix     write files and cells in the right format
  NOTEBOOK  look at these notebooks only
`;

async function main(args: string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    return 0;
  }
  const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--fix");
  if (unknown) {
    console.error(`${unknown} is not an option of deno task check; see --help`);
    return 2;
  }
  await setUpBeforeImports({ pythonOptional: true });
  const { check } = await import("./check_parts.ts"); // it needs packages, which are there only now
  const start = performance.now();
  const failed = await check({
    fix: args.includes("--fix"),
    notebooks: args.filter((arg) => !arg.startsWith("-")),
    report: ({ name, seconds, what, findings }) => {
      console.log(`${findings.length ? "FAIL" : "ok  "} ${seconds.toFixed(1).padStart(6)} s  ${name}: ${what}`);
      for (const finding of findings) console.log(finding.replace(/^/gm, "      "));
    },
  });
  console.log(
    `${failed ? `${failed} found` : "Nothing found"} (${((performance.now() - start) / 1000).toFixed(1)} s).`,
  );
  return failed ? 1 : 0;
}

if (import.meta.main) await withSetUpErrors(() => main(Deno.args));
