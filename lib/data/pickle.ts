/**
 * Pickle, Python's file of one value, read as far as it is data: numbers, texts, bytes, lists, tuples, sets and dictionaries.
 *
 * A pickle is a program for a small stack machine that may call any function of the Python that loads it. Here the
 * instructions that build plain values are carried out, and a file with any other is refused before anything happens. The
 * format: Python's `pickletools`, protocols 0 to 5 (PEP 3154, PEP 574).
 *
 * @module
 */
import { pathOf, readBytes } from "./files.ts";

/** A value of Python: `None` is null, an integer beyond 2^53 a bigint, a tuple an array, a dictionary a map. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Set<PickleValue>
  | Map<PickleValue, PickleValue>;

/** Stands on the stack where a list, tuple or dictionary begins. */
const MARK = Symbol("mark");

/** Instructions that call, import or name something, by their byte. */
const refused: Record<string, string> = {
  c: "GLOBAL",
  "\x93": "STACK_GLOBAL",
  R: "REDUCE",
  b: "BUILD",
  i: "INST",
  o: "OBJ",
  "\x81": "NEWOBJ",
  "\x92": "NEWOBJ_EX",
  P: "PERSID",
  Q: "BINPERSID",
  "\x82": "EXT1",
  "\x83": "EXT2",
  "\x84": "EXT4",
  "\x97": "NEXT_BUFFER",
  "\x98": "READONLY_BUFFER",
};

/**
 * Reads a pickle that lies in memory.
 *
 * @param name How error messages call it.
 * @throws {Error} One sentence: where it is cut short, no pickle, or holds more than plain data (naming what).
 *
 * @example What Python's `pickle.dumps({0: "a"})` gives
 * ```ts
 * import assert from "node:assert/strict";
 * const bytes = Uint8Array.of(0x80, 4, 0x7d, 0x94, 0x4b, 0, 0x8c, 1, 0x61, 0x94, 0x73, 0x2e);
 * assert.deepEqual(parsePickle(bytes, "a dictionary"), new Map([[0, "a"]]));
 * assert.throws(() => parsePickle(new TextEncoder().encode("cos\nsystem\n."), "a trap"), /asks for os\.system/);
 * ```
 */
export function parsePickle(bytes: Uint8Array, name: string): PickleValue {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const broken = (why: string) => new Error(`${name} is no pickle that can be read: ${why}; get the file again`);
  let at = 0;
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw broken(`it ends after ${bytes.length} bytes in the middle of a value`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  const number = (read: (place: number) => number, length: number) => {
    take(length);
    return read(at - length);
  };
  const u8 = () => number((place) => view.getUint8(place), 1);
  const u16 = () => number((place) => view.getUint16(place, true), 2);
  const u32 = () => number((place) => view.getUint32(place, true), 4);
  const u64 = () => number((place) => Number(view.getBigUint64(place, true)), 8);
  const line = () => {
    const end = bytes.indexOf(10, at);
    if (end < 0) throw broken("a line has no end");
    const text = latin1(take(end - at));
    at++;
    return text;
  };
  const utf8 = (length: number) => new TextDecoder().decode(take(length));

  const stack: (PickleValue | typeof MARK)[] = [];
  const memo = new Map<number, PickleValue>();
  const pop = (): PickleValue => {
    const value = stack.pop();
    if (value === undefined || value === MARK) throw broken("its stack is empty where a value is needed");
    return value;
  };
  const top = (): PickleValue => {
    const value = pop();
    stack.push(value);
    return value;
  };
  const sinceMark = (): PickleValue[] => {
    const mark = stack.lastIndexOf(MARK);
    if (mark < 0) throw broken("a list ends that has not begun");
    return stack.splice(mark).slice(1) as PickleValue[];
  };
  const into = <Kind extends PickleValue>(is: (value: PickleValue) => value is Kind): Kind => {
    const value = top();
    if (!is(value)) throw broken("something is put into a value that holds nothing");
    return value;
  };
  const isList = (value: PickleValue): value is PickleValue[] => Array.isArray(value);
  const isMap = (value: PickleValue): value is Map<PickleValue, PickleValue> => value instanceof Map;
  const isSet = (value: PickleValue): value is Set<PickleValue> => value instanceof Set;
  const pairs = (map: Map<PickleValue, PickleValue>, values: PickleValue[]) => {
    for (let i = 0; i + 1 < values.length; i += 2) map.set(values[i], values[i + 1]);
    return map;
  };
  const recall = (key: number): PickleValue => {
    const value = memo.get(key);
    if (value === undefined) throw broken(`value ${key} is used before it is there`);
    return value;
  };

  const carryOut: Record<string, () => void> = {
    "\x80": () => {
      const protocol = u8();
      if (protocol > 5) throw broken(`its protocol is ${protocol}, and 5 is the last that is known`);
    },
    "\x95": () => void u64(), // a frame's length: its content follows
    "(": () => void stack.push(MARK),
    0: () => void stack.pop(),
    1: () => void sinceMark(),
    2: () => void stack.push(top()),
    N: () => void stack.push(null),
    "\x88": () => void stack.push(true),
    "\x89": () => void stack.push(false),
    I: () => {
      const text = line();
      stack.push(text === "01" ? true : text === "00" ? false : whole(BigInt(text)));
    },
    L: () => void stack.push(whole(BigInt(line().replace(/L$/, "")))),
    J: () => void stack.push(u32() | 0),
    K: () => void stack.push(u8()),
    M: () => void stack.push(u16()),
    "\x8a": () => void stack.push(signed(take(u8()))),
    "\x8b": () => void stack.push(signed(take(u32()))),
    F: () => void stack.push(Number(line().replace("inf", "Infinity").replace("nan", "NaN"))),
    G: () => void stack.push(number((place) => view.getFloat64(place), 8)),
    S: () => void stack.push(line().replace(/^(["'])(.*)\1$/s, "$2")),
    T: () => void stack.push(latin1(take(u32()))),
    U: () => void stack.push(latin1(take(u8()))),
    V: () =>
      void stack.push(
        line().replace(
          /\\u([0-9a-f]{4})|\\U([0-9a-f]{8})/g,
          (_, short, long) => String.fromCodePoint(parseInt(short ?? long, 16)),
        ),
      ),
    X: () => void stack.push(utf8(u32())),
    "\x8c": () => void stack.push(utf8(u8())),
    "\x8d": () => void stack.push(utf8(u64())),
    B: () => void stack.push(take(u32()).slice()),
    C: () => void stack.push(take(u8()).slice()),
    "\x8e": () => void stack.push(take(u64()).slice()),
    "\x96": () => void stack.push(take(u64()).slice()),
    "]": () => void stack.push([]),
    ")": () => void stack.push([]),
    "}": () => void stack.push(new Map()),
    "\x8f": () => void stack.push(new Set()),
    a: () => {
      const value = pop();
      into(isList).push(value);
    },
    e: () => {
      const values = sinceMark();
      const list = into(isList);
      for (const value of values) list.push(value);
    },
    l: () => void stack.push(sinceMark()),
    t: () => void stack.push(sinceMark()),
    "\x85": () => void stack.push([pop()]),
    "\x86": () => void stack.push([pop(), pop()].reverse()),
    "\x87": () => void stack.push([pop(), pop(), pop()].reverse()),
    d: () => void stack.push(pairs(new Map(), sinceMark())),
    s: () => {
      const [value, key] = [pop(), pop()];
      into(isMap).set(key, value);
    },
    u: () => {
      const values = sinceMark();
      pairs(into(isMap), values);
    },
    "\x90": () => {
      const values = sinceMark();
      const set = into(isSet);
      for (const value of values) set.add(value);
    },
    "\x91": () => void stack.push(new Set(sinceMark())),
    p: () => void memo.set(Number(line()), top()),
    q: () => void memo.set(u8(), top()),
    r: () => void memo.set(u32(), top()),
    "\x94": () => void memo.set(memo.size, top()),
    g: () => void stack.push(recall(Number(line()))),
    h: () => void stack.push(recall(u8())),
    j: () => void stack.push(recall(u32())),
  };

  for (;;) {
    const code = String.fromCharCode(u8());
    if (code === ".") {
      const value = pop();
      if (stack.length) throw broken("values are left over at its end");
      return value;
    }
    if (code in refused) {
      const names = code === "\x93"
        ? stack.slice(-2).map(String)
        : code === "c" || code === "i"
        ? [line(), line()]
        : [];
      const what = names.length ? `asks for ${names.join(".")}` : `has the instruction ${refused[code]}`;
      throw new Error(
        `${name} ${what}, which would run Python: only numbers, texts, lists, tuples, sets and dictionaries are read; turn ` +
          "its values into these in Python (array.tolist(), dict(...)) and pickle them again",
      );
    }
    const carried = Object.hasOwn(carryOut, code) ? carryOut[code] : undefined;
    if (!carried) throw broken(`byte ${at - 1} is ${code.charCodeAt(0)}, which is no instruction`);
    carried();
  }
}

/** Python 2's texts, byte by byte. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** A number where it is exact as one. */
function whole(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** An integer in two's complement, the lowest byte first. */
function signed(bytes: Uint8Array): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = value << 8n | BigInt(bytes[i]);
  return whole(BigInt.asIntN(8 * bytes.length, value));
}

/**
 * Reads a pickle file: see {@link parsePickle}.
 *
 * @throws {Error} Where the file is missing, or what {@link parsePickle} refuses.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".pkl" });
 * await Deno.writeFile(file, Uint8Array.of(0x80, 2, 0x4b, 7, 0x2e));
 * assert.equal(await readPickle(file), 7);
 * await Deno.remove(file);
 * ```
 */
export async function readPickle(file: string | URL): Promise<PickleValue> {
  return parsePickle(await readBytes(file), pathOf(file));
}
