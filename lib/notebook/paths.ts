/**
 * Where things lie: the project's root, its Python environment, and what is looked for in it.
 *
 * @module
 */
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's root, without symbolic links and without a slash at its end. */
export const root: string = Deno.realPathSync(fileURLToPath(new URL("../../", import.meta.url))).replace(/[/\\]$/, "");

/** The Python environment; set-up makes it, and it may be missing. */
export const venv = `${root}/.venv`;

const windows = Deno.build.os === "windows";

/** The environment's programs. */
export const venvBin: string = windows ? `${venv}/Scripts` : `${venv}/bin`;

/** A program of the environment, such as "python" or "jupyter-lab". */
export function venvProgram(name: string): string {
  return `${venvBin}/${name}${windows ? ".exe" : ""}`;
}

/** Where the environment's packages lie; undefined while there is no environment. */
export function sitePackages(): string | undefined {
  if (windows) return isFolder(`${venv}/Lib/site-packages`) ? `${venv}/Lib/site-packages` : undefined;
  for (const name of namesIn(`${venv}/lib`)) {
    const folder = `${venv}/lib/${name}/site-packages`;
    if (name.startsWith("python3") && isFolder(folder)) return folder;
  }
}

/** The kernelspec's name, by which notebooks ask for the kernel. */
export const KERNEL_NAME = "tessera";

/** The kernel's name as people see it. */
export const KERNEL_TITLE = "TypeScript (Deno, Tessera)";

/** The folder of our kernelspec. */
export const kernelspecFolder = `${venv}/share/jupyter/kernels/${KERNEL_NAME}`;

/** The names in a folder; none when it does not exist. */
export function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

/** Size of a file in bytes; undefined when it is missing or a link that leads nowhere. */
export function sizeOf(path: string): number | undefined {
  try {
    return Deno.statSync(path).size;
  } catch {
    return undefined;
  }
}

/** Whether a file or folder is there; a link that leads nowhere is not. */
export function exists(path: string): boolean {
  return sizeOf(path) !== undefined;
}

/** Whether this is a folder. */
export function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** A file's text; empty when it cannot be read. */
export function textOf(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/** Writes a file as a whole or not at all, and not when it already has this text. Makes its folder. */
export function writeWhole(path: string, text: string): boolean {
  if (textOf(path) === text) return false;
  const temporary = `${path}.${Deno.pid}.tmp`;
  Deno.mkdirSync(dirname(path), { recursive: true });
  try {
    Deno.writeTextFileSync(temporary, text);
    Deno.renameSync(temporary, path);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // it was never made
    }
    throw new Error(`${path} could not be written (${(error as Error).message}); it is as it was`);
  }
  return true;
}

/** `deno task` changes to the project's root and keeps the user's folder in INIT_CWD. */
export function whereTheUserIs(path: string): string {
  const fromHere = resolve(path);
  const fromThere = resolve(Deno.env.get("INIT_CWD") ?? ".", path);
  return !exists(fromHere) && exists(fromThere) ? fromThere : fromHere;
}

/** A path as people read it: from the project's root, where it lies in the project. */
export function nameOf(path: string): string {
  const name = relative(root, resolve(path));
  return name.startsWith("..") ? path : name.replaceAll("\\", "/");
}

/** The files of a folder and its folders, sorted; names that begin with a dot are left out. */
export function walk(folder: string): string[] {
  return namesIn(folder).filter((name) => !name.startsWith(".")).flatMap((name) =>
    isFolder(`${folder}/${name}`) ? walk(`${folder}/${name}`) : [`${folder}/${name}`]
  );
}
