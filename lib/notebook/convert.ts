/**
 * `deno task notebook to-ts|from-ts`: a notebook as TypeScript text for an editor or a review, and back.
 *
 * The `.ipynb` is the one source: the text is a passing form, and git ignores it beside the notebooks.
 *
 * @module
 */
import { resolve } from "node:path";
import { nameOf, whereTheUserIs } from "./paths.ts";
import { setUpBeforeImports, withSetUpErrors } from "./setup.ts";

const USAGE = `Usage: deno task notebook to-ts NOTEBOOK.ipynb [TEXT.ts] [--force]
       deno task notebook from-ts TEXT.ts [NOTEBOOK.ipynb] [--update]

Turns a notebook into jupytext's TypeScript percent form and back, without loss but of outputs.
  --force   to-ts: write over an existing text
  --update  from-ts: write over an existing notebook; cells that are the same keep their outputs
`;

async function main(args: string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    return 0;
  }
  const [direction, ...rest] = args.filter((arg) => !arg.startsWith("-"));
  const options = args.filter((arg) => arg.startsWith("-"));
  const known = { "to-ts": "--force", "from-ts": "--update" }[direction];
  const unknown = options.find((option) => option !== known);
  if (!known || rest.length < 1 || rest.length > 2 || unknown) {
    console.error(known && unknown ? `${unknown} is not an option of ${direction}; see --help` : USAGE);
    return 2;
  }
  await setUpBeforeImports({ pythonOptional: true });
  const { convert } = await import("./convert_file.ts"); // it needs a package, which is there only now
  const from = whereTheUserIs(rest[0]);
  const to = rest[1] && resolve(Deno.env.get("INIT_CWD") ?? ".", rest[1]);
  const { path, note } = convert(direction as "to-ts" | "from-ts", from, { to, replace: options.length > 0 });
  console.log(`${nameOf(path)}: ${note}`);
  return 0;
}

if (import.meta.main) await withSetUpErrors(() => main(Deno.args));
