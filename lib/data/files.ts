/**
 * Files: reading with an error that says what to do, and writing so that nothing is ever half written.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's `data/` folder, found from this file and not from where the program was started. */
export const dataFolder: URL = new URL("../../data/", import.meta.url);

/**
 * A path or a file URL, as a path.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(pathOf("a/b.txt"), "a/b.txt");
 * assert.ok(pathOf(dataFolder).endsWith("data/"));
 * ```
 */
export function pathOf(file: string | URL): string {
  return file instanceof URL ? fileURLToPath(file) : file;
}

/**
 * Reads a whole file.
 *
 * @throws {Error} One sentence that names the file, where it does not exist, is a folder or may not be read.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const bytes = await readBytes(new URL("vit-nano/config.json", dataFolder));
 * assert.equal(bytes[0], "{".charCodeAt(0));
 * ```
 */
export async function readBytes(file: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await Deno.readFile(file);
  } catch (cause) {
    const path = pathOf(file);
    if (cause instanceof Deno.errors.NotFound) {
      throw new Error(`there is no file ${path}; check the name (paths start at ${Deno.cwd()})`, { cause });
    }
    const why = cause instanceof Deno.errors.IsADirectory || cause instanceof Deno.errors.PermissionDenied
      ? (await Deno.stat(file)).isDirectory ? "it is a folder" : "permission is denied"
      : String(cause);
    throw new Error(`cannot read ${path}: ${why}; pass a file that can be read`, { cause });
  }
}

/**
 * Reads a file of the project's `data/` folder.
 *
 * @param name Path below `data/`, such as `"vit-nano/config.json"`.
 * @throws {Error} Where the file is missing: it names the file and says how to restore it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const text = new TextDecoder().decode(await readDataFile("vit-nano/config.json"));
 * assert.equal(JSON.parse(text).patches, 49);
 * ```
 */
export async function readDataFile(name: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await Deno.readFile(new URL(name, dataFolder));
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Error(`data/${name} is missing; restore it with: git checkout -- data/${name}`, { cause });
  }
}

/**
 * Writes a file completely or not at all: into a temporary file beside it, which then takes its name. Whatever goes
 * wrong, the temporary file is removed, and an older file of that name stays as it was.
 *
 * @param content The bytes, or a function that writes them to the path it is given.
 * @throws {Error} One sentence that names the file and the reason.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const folder = await Deno.makeTempDir();
 * await writeAtomically(`${folder}/a.txt`, new TextEncoder().encode("all of it"));
 * assert.equal(await Deno.readTextFile(`${folder}/a.txt`), "all of it");
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export async function writeAtomically(
  file: string | URL,
  content: Uint8Array | ((temporary: string) => void | Promise<void>),
): Promise<void> {
  const path = pathOf(file);
  // In the same folder, because a file can change its name atomically only within one file system.
  const temporary = join(dirname(path), `.${basename(path)}.${Deno.pid}.${unique++}.part`);
  try {
    if (typeof content === "function") await content(temporary);
    else await Deno.writeFile(temporary, content);
    const written = await Deno.open(temporary, { read: true, write: true });
    try {
      await written.sync(); // else a power cut could leave the new name on an empty file
    } finally {
      written.close();
    }
    await Deno.rename(temporary, path);
  } catch (cause) {
    await Deno.remove(temporary).catch(() => {}); // it may not have come into being
    throw new Error(`cannot write ${path}: ${await reason(path, cause)}`, { cause });
  }
}

let unique = 0;

async function reason(path: string, cause: unknown): Promise<string> {
  const folder = await Deno.stat(dirname(path)).catch(() => undefined);
  if (!folder?.isDirectory) return `there is no folder ${dirname(path)}; make it first`;
  const target = await Deno.stat(path).catch(() => undefined);
  if (target?.isDirectory) return "a folder has that name; choose another name";
  if (cause instanceof Deno.errors.PermissionDenied) return "permission is denied; choose another folder";
  return cause instanceof Error ? cause.message : String(cause);
}

/**
 * The SHA-256 of some bytes, one part after the other, in hexadecimal.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const abc = new TextEncoder().encode("abc");
 * assert.equal(sha256(abc), sha256(abc.subarray(0, 1), abc.subarray(1)));
 * assert.equal(sha256(abc).slice(0, 8), "ba7816bf");
 * ```
 */
export function sha256(...parts: Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/**
 * Loads each thing once: later calls get the same promise. A load that failed is forgotten, so that it is tried again
 * after the cause has been removed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * let calls = 0;
 * const load = remember((name: string) => Promise.resolve(`${name} ${++calls}`));
 * assert.equal(await load("a"), "a 1");
 * assert.equal(await load("a"), "a 1");
 * ```
 */
export function remember<Key, Value>(load: (key: Key) => Promise<Value>): (key: Key) => Promise<Value> {
  const loaded = new Map<Key, Promise<Value>>();
  return (key) => {
    let promise = loaded.get(key);
    if (!promise) {
      promise = load(key);
      promise.catch(() => loaded.delete(key));
      loaded.set(key, promise);
    }
    return promise;
  };
}

/**
 * Checks that a name from outside the type checker (a notebook's parameter, a command line) is one that exists.
 *
 * @param what What is named, for the message: `"split of MNIST"`.
 * @throws {RangeError} Where it does not exist; the message lists those that do.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(oneOf("test", ["train", "test"], "split of MNIST"), "test");
 * ```
 */
export function oneOf<Name extends string>(name: string, names: readonly Name[], what: string): Name {
  const found = names.find((candidate) => candidate === name);
  if (found === undefined) {
    const list = names.map((each) => JSON.stringify(each)).join(", ");
    throw new RangeError(`there is no ${what} named ${JSON.stringify(name)}; choose one of ${list}`);
  }
  return found;
}
