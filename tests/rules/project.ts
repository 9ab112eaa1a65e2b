/**
 * The project as the rules see it: its files and their text.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { deadLinks } from "../../lib/notebook/links.ts";

/** The project's root, without a slash at its end. */
export const root: string = Deno.realPathSync(fileURLToPath(new URL("../../", import.meta.url))).replace(/[/\\]$/, "");

const NOT_OURS = new Set([".git", "node_modules", ".venv", ".venv-bench", ".ipynb_checkpoints", "site"]);
const TEXT =
  /\.(ts|cjs|mjs|js|json|md|ipynb|csv|tsv|svg|lock|txt|html|css|sh|py)$|(^|\/)(LICENSE|\.gitignore|\.ci\/run)$/;

/** Copies of notebooks on which the browser test works, while it runs. */
const PASSING = /(^|\/)\.browser-test-[^/]*$/;

/**
 * All files of the project, relative to its root: those that git tracks, and new ones that it would take. Where there is
 * no git, all files but those of set-up.
 *
 * @param git The program; a test gives the name of none.
 */
export function projectFiles(git = "git"): string[] {
  const listed = filesOfGit(git) ?? walk("");
  return listed.filter((path) => !PASSING.test(path) && isFile(path)).sort();
}

function filesOfGit(git: string): string[] | undefined {
  try {
    const { success, stdout } = new Deno.Command(git, {
      args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
      cwd: root,
      stderr: "null",
    }).outputSync();
    const paths = success ? new TextDecoder().decode(stdout).split("\0").filter(Boolean) : [];
    return paths.length ? [...new Set(paths)] : undefined; // none: a copy that lies in somebody else's repository
  } catch {
    return undefined; // no git here
  }
}

function walk(folder: string): string[] {
  return [...Deno.readDirSync(`${root}/${folder}`)].flatMap(({ name, isDirectory }) => {
    const path = folder ? `${folder}/${name}` : name;
    if (isDirectory) return NOT_OURS.has(name) ? [] : walk(path);
    return [path];
  });
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(`${root}/${path}`).isFile;
  } catch {
    return false; // deleted, and git does not know yet
  }
}

/** The text of one of the project's files. */
export function textOf(path: string): string {
  return Deno.readTextFileSync(`${root}/${path}`);
}

/** Whether a file holds text that people wrote or that a viewer shows. */
export function isText(path: string): boolean {
  return TEXT.test(path);
}

/** Whether there is a file or a folder. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(`${root}/${path}`);
    return true;
  } catch {
    return false;
  }
}

/** The number of the line, from 1, in which a character stands. */
export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** A sentence for each link and image of Markdown that names no file or no heading. Pages elsewhere are left out. */
export function brokenLinks(path: string, markdown: string, isThere: (path: string) => boolean = exists): string[] {
  const markdownOf = (page: string) => page.endsWith(".md") && exists(page) ? textOf(page) : undefined;
  return deadLinks(path, markdown, { exists: isThere, markdownOf }).map(({ line, message }) =>
    `${path}:${line} ${message}`
  );
}

/** Runs this Deno in the project's root. */
export async function deno(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
    stdin: "null",
    signal: AbortSignal.timeout(60_000),
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}
