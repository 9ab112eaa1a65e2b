/**
 * `deno task site [--output FOLDER]`: all notebooks as static pages with an index, which can be read from a disk.
 *
 * @module
 */
import { resolve } from "node:path";
import { nameOf, root } from "./paths.ts";
import { setUp, withSetUpErrors } from "./setup.ts";

const USAGE = `Usage: deno task site [--output FOLDER]

Makes static pages of all notebooks, as they were saved, of the library, its methods and the evidence, with a search. Nothing outside the folder is asked for.
  --output FOLDER  where (site); a folder that something else has made is left alone
`;

async function main(args: string[]): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    return 0;
  }
  const given = args[0] === "--output" ? args[1] : args[0]?.startsWith("--output=") ? args[0].slice(9) : undefined;
  if (args.length && !given) {
    console.error(
      args[0] === "--output" ? "--output needs a folder" : `${args[0]} is not an option of deno task site; see --help`,
    );
    return 2;
  }
  await setUp({ pythonOptional: true });
  const { buildSite } = await import("./site_build.ts"); // it needs packages, which are there only now
  const { readReference } = await import("./site_reference.ts");
  const start = performance.now();
  const folder = given ? resolve(Deno.env.get("INIT_CWD") ?? ".", given) : `${root}/site`;
  const { notebooks, pages, bytes } = buildSite(folder, undefined, await readReference());
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${notebooks} notebooks, ${pages} pages, ${(bytes / 1e6).toFixed(1)} MB in ${seconds} s: ${
      nameOf(folder)
    }/index.html`,
  );
  return 0;
}

if (import.meta.main) await withSetUpErrors(() => main(Deno.args));
