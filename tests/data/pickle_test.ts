import assert from "node:assert/strict";
import { parsePickle, type PickleValue, readPickle } from "../../lib/data/mod.ts";

const fixture = (name: string) => new URL(`pickles/${name}.pkl`, import.meta.url);

Deno.test("pickles of every protocol are read as Python wrote them", async () => {
  for (let protocol = 0; protocol < 6; protocol++) {
    const value = await readPickle(fixture(`protocol_${protocol}`)) as Map<PickleValue, PickleValue>;
    assert.ok(value instanceof Map, `protocol ${protocol}`);
    assert.equal(value.get("none"), null);
    assert.deepEqual(value.get("truth"), [true, false]);
    assert.deepEqual(
      value.get("numbers"),
      [0, -1, 255, 65535, 2 ** 31 - 1, -(2 ** 31), 2 ** 40, 2n ** 80n, -(2n ** 80n), 0.1, Infinity],
    );
    assert.equal(value.get("text"), "Sjögren 🩺", `protocol ${protocol}`);
    assert.deepEqual(value.get("tuples"), [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]);
    const [first, second] = value.get("shared") as PickleValue[];
    assert.deepEqual(first, ["twice", 1.5]);
    assert.equal(first, second, "one list, twice");
    assert.deepEqual(value.get(7), new Map([["nested", new Map([["deeper", []]])]]));
    assert.deepEqual(value.get("bytes"), protocol > 2 ? Uint8Array.of(0, 255) : undefined);
  }
  const sets = await readPickle(fixture("sets")) as Map<string, PickleValue>;
  assert.deepEqual(sets.get("set"), new Set([1, 2]));
  assert.deepEqual(sets.get("frozen"), new Set([3]));
  assert.equal((sets.get("long") as PickleValue[]).length, 1500, "longer than one batch of Python's");
});

Deno.test("a pickle that would run Python, is cut short or none is refused in one sentence", async () => {
  await assert.rejects(readPickle(fixture("ordered")), (error: Error) => {
    assert.match(error.message, /ordered\.pkl asks for collections\.OrderedDict, which would run Python/);
    assert.match(error.message, /turn its values into these in Python/);
    return true;
  });
  await assert.rejects(readPickle(fixture("ordered_0")), /asks for (copyreg\._reconstructor|collections\.OrderedDict)/);
  const bytes = await Deno.readFile(fixture("protocol_4"));
  for (let length = 1; length < bytes.length; length += 7) {
    assert.throws(() => parsePickle(bytes.subarray(0, length), "half"), /^Error: half is no pickle that can be read: /);
  }
  assert.throws(() => parsePickle(new TextEncoder().encode("name,code\n"), "a table"), /a table is no pickle/);
  assert.throws(() => parsePickle(Uint8Array.of(0x80, 9, 0x2e), "new"), /its protocol is 9, and 5 is the last/);
});
