/**
 * What TensorFlow says of its ops (`OpDef`, a protocol buffer): the part that is needed to add one to a graph.
 *
 * @module
 */

/** One op. */
export interface OpDefinition {
  /** In order; `list` names the attribute that holds the length (or the types) of an input that is a list. */
  readonly inputs: { readonly list?: string }[];
  readonly attributes: ReadonlySet<string>;
  /** It draws random numbers, prints, or keeps something between calls. */
  readonly stateful: boolean;
}

// numbers of the fields, from tensorflow/core/framework/op_def.proto
const INPUT_ARG = 2, ATTR = 4, IS_STATEFUL = 17;
const ARG_NUMBER_ATTR = 5, ARG_TYPE_LIST_ATTR = 6;
const ATTR_NAME = 1;

/**
 * Reads an `OpDef`.
 *
 * @example An op "A" with one attribute "T", written by hand: field 4, three bytes long, which are field 1, "T"
 * ```ts
 * import assert from "node:assert/strict";
 * const { attributes, stateful } = readOpDefinition(Uint8Array.of(4 << 3 | 2, 3, 1 << 3 | 2, 1, 84));
 * assert.deepEqual([[...attributes], stateful], [["T"], false]);
 * ```
 */
export function readOpDefinition(bytes: Uint8Array): OpDefinition {
  const inputs: { list?: string }[] = [];
  const attributes = new Set<string>();
  let stateful = false;
  for (const { field, number, content } of fields(bytes)) {
    if (field === INPUT_ARG) {
      const list = fields(content).find(({ field }) => field === ARG_NUMBER_ATTR || field === ARG_TYPE_LIST_ATTR);
      inputs.push(list ? { list: text(list.content) } : {});
    } else if (field === ATTR) {
      for (const { field, content: name } of fields(content)) if (field === ATTR_NAME) attributes.add(text(name));
    } else if (field === IS_STATEFUL) {
      stateful = number === 1;
    }
  }
  return { inputs, attributes, stateful };
}

interface Field {
  field: number;
  number: number;
  content: Uint8Array;
}

/** The fields of one protocol buffer message; numbers of fixed width are skipped. */
function fields(bytes: Uint8Array): Field[] {
  const found: Field[] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1;; scale *= 128) { // seven bits a byte, the highest bit says that more follow
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0:
        found.push({ field, number: varint(), content: bytes.subarray(0, 0) });
        break;
      case 2: {
        const length = varint();
        found.push({ field, number: 0, content: bytes.subarray(at, at + length) });
        at += length;
        break;
      }
      case 1:
        at += 8;
        break;
      default:
        at += 4;
    }
  }
  return found;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
