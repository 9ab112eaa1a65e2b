import assert from "node:assert/strict";
import { join } from "node:path";
import { oneOf, readDataFile, remember } from "../../lib/data/files.ts";
import { writeAtomically } from "../../lib/data/mod.ts";

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
}

const bytes = new TextEncoder().encode("new");

Deno.test("writeAtomically() replaces a file and leaves nothing else behind", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.txt");
    await writeAtomically(path, bytes);
    await writeAtomically(path, (temporary) => Deno.writeTextFile(temporary, "newer"));
    assert.equal(await Deno.readTextFile(path), "newer");
    assert.deepEqual(names(folder), ["a.txt"]);
  }));

Deno.test("writeAtomically() that fails half-way leaves the old file and no part of the new one", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.txt");
    await Deno.writeTextFile(path, "old");
    const failing = writeAtomically(path, async (temporary) => {
      await Deno.writeTextFile(temporary, "half of the n");
      throw new Error("the disk is full");
    });
    await assert.rejects(failing, (error: Error) => error.message === `cannot write ${path}: the disk is full`);
    assert.equal(await Deno.readTextFile(path), "old");
    assert.deepEqual(names(folder), ["a.txt"]);
  }));

Deno.test("writeAtomically() to a place where no file can be says so in one sentence and leaves nothing", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(join(folder, "taken"));
    await assert.rejects(
      writeAtomically(join(folder, "taken"), bytes),
      /^Error: cannot write .*taken: a folder has that name; choose another name$/,
    );
    await assert.rejects(
      writeAtomically(join(folder, "missing", "a.txt"), bytes),
      /^Error: cannot write .*a\.txt: there is no folder .*missing; make it first$/,
    );
    await assert.rejects(writeAtomically("/proc/a.txt", bytes), /^Error: cannot write \/proc\/a\.txt: /);
    assert.deepEqual(names(folder), ["taken"]);
  }));

Deno.test("two writers of one file at a time both finish, and the file is that of one of them", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.txt");
    const texts = ["a", "b", "c", "d"].map((letter) => letter.repeat(100_000));
    await Promise.all(texts.map((text) => writeAtomically(path, new TextEncoder().encode(text))));
    assert.ok(texts.includes(await Deno.readTextFile(path)));
    assert.deepEqual(names(folder), ["a.txt"]);
  }));

Deno.test("a missing data file is named, with the command that restores it", async () => {
  await assert.rejects(readDataFile("vit-nano/none.safetensors"), {
    name: "Error",
    message:
      "data/vit-nano/none.safetensors is missing; restore it with: git checkout -- data/vit-nano/none.safetensors",
  });
});

Deno.test("remember() loads once, and tries again what failed", async () => {
  let calls = 0;
  const load = remember((name: string) => {
    calls++;
    return calls === 1 ? Promise.reject(new Error("not yet")) : Promise.resolve(`${name} at call ${calls}`);
  });
  await assert.rejects(load("a"), /^Error: not yet$/);
  assert.deepEqual(await Promise.all([load("a"), load("a")]), ["a at call 2", "a at call 2"]);
  assert.equal(await load("b"), "b at call 3");
});

Deno.test("oneOf() lists what exists", () => {
  assert.throws(
    () => oneOf("dev", ["train", "test"], "split of MNIST"),
    /^RangeError: there is no split of MNIST named "dev"; choose one of "train", "test"$/,
  );
});
