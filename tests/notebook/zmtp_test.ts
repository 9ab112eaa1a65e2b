/**
 * Messages that Deno's kernel writes into the middle of others, put together here byte by byte: whatever the place, all of
 * them come out whole.
 */
import assert from "node:assert/strict";
import { freeConnection } from "../../lib/notebook/message.ts";
import { Connection, fullLength } from "../../lib/notebook/zmtp.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The frames of a message of Jupyter's, by its words. */
const message = (text: string, ...buffers: Uint8Array[]): Uint8Array[] => [
  ...["<IDS|MSG>", "f00d".repeat(16), '{"msg_type":"stream"}', "{}", "{}", JSON.stringify({ text })].map((part) =>
    encoder.encode(part)
  ),
  ...buffers,
];

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** The bytes of a message in ZMTP 3: flags and length before each frame. */
function bytesOf(frames: Uint8Array[]): Uint8Array {
  return joined(...frames.flatMap((frame, index) => {
    const more = Number(index < frames.length - 1);
    if (frame.length < 256) return [Uint8Array.of(more, frame.length), frame];
    const header = new Uint8Array(9);
    header[0] = more | 2;
    new DataView(header.buffer).setBigUint64(1, BigInt(frame.length));
    return [header, frame];
  }));
}

const inside = (outer: Uint8Array, inner: Uint8Array, at: number) =>
  joined(outer.subarray(0, at), inner, outer.subarray(at));

/** What a connection makes of these pieces of bytes, each of which arrives by itself. */
async function received(pieces: Uint8Array[], count: number, longest?: number): Promise<Uint8Array[][]> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const [client, kernel] = await Promise.all([
    Connection.open(listener.addr.port, "SUB"),
    accepted.then(async (tcp) => {
      await Connection.over(tcp, "PUB");
      return tcp;
    }),
  ]);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const write = async () => {
      for (const piece of pieces) {
        for (let sent = 0; sent < piece.length;) sent += await kernel.write(piece.subarray(sent));
        if (pieces.length > 1) await pause(2);
      }
    };
    const read = async () => {
      const messages: Uint8Array[][] = [];
      while (messages.length < count) messages.push(await client.receive(longest));
      return messages;
    };
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("a message did not arrive")), 5000);
    });
    const reading = Promise.race([read(), late]);
    const [messages] = await Promise.all([reading, write()]);
    return messages;
  } finally {
    clearTimeout(timer);
    client.close();
    kernel.close();
    listener.close();
  }
}

const texts = (messages: Uint8Array[][]) => messages.map((frames) => JSON.parse(decoder.decode(frames[5])).text);

const outer = message("long ".repeat(80)), busy = message("busy"), idle = message("idle"), next = message("next");

Deno.test("a message inside another one comes out whole, at whatever byte it begins", async () => {
  const bytes = bytesOf(outer);
  const mixed: Uint8Array[] = [], expected: Uint8Array[][] = [];
  for (let at = 1; at < bytes.length; at++) {
    mixed.push(inside(bytes, bytesOf(busy), at), bytesOf(next));
    expected.push(outer, busy, next);
  }
  assert.deepEqual(await received([joined(...mixed)], expected.length), expected);
});

Deno.test("so does one whose bytes arrive in two or three reads", async () => {
  const bytes = bytesOf(outer);
  const places = [1, 2, 5, 11, 12, 13, 77, 80, 103, 110, 113, 120, 130, bytes.length - 1];
  const stream = joined(...places.flatMap((at) => [inside(bytes, bytesOf(busy), at), bytesOf(next)]));
  const length = bytes.length + bytesOf(busy).length + bytesOf(next).length;
  const expected = places.flatMap(() => [outer, busy, next]);
  for (const into of [1, 4, 10, 11, 60]) { // bytes of the inner message that have come with what is before it
    const cuts = [0, ...places.map((at, k) => k * length + at + into), stream.length];
    const pieces = cuts.slice(1).map((cut, k) => stream.subarray(cuts[k], cut));
    assert.deepEqual(await received(pieces, expected.length), expected, `${into} bytes`);
  }
});

Deno.test("two inside one, side by side, apart and in one another", async () => {
  const bytes = bytesOf(outer), [first, second] = [bytesOf(busy), bytesOf(idle)];
  const ways = [
    inside(bytes, joined(first, second), 150),
    inside(inside(bytes, second, 300), first, 40),
    inside(bytes, inside(first, second, 100), 200),
  ];
  for (const [way, mixed] of ways.entries()) {
    const messages = await received([joined(mixed, bytesOf(next))], 4);
    assert.deepEqual(messages, [outer, busy, idle, next], `way ${way}`);
  }
  const cutAtItsBeginning = inside(bytes, inside(first, second, 3), 200);
  assert.deepEqual(await received([joined(cutAtItsBeginning, bytesOf(next))], 4), [outer, idle, busy, next]);
});

Deno.test("of a long message only the beginning is kept, and what was mixed into the rest still comes out", async () => {
  const MiB = 2 ** 20, longest = 1000;
  const long = message("x".repeat(2 * MiB + 500)), bytes = bytesOf(long), content = bytes.length - long[5].length;
  // where what is kept ends, where pieces of the rest end, and the last byte
  for (const end of [longest, longest + MiB, longest + 2 * MiB, long[5].length]) {
    for (const before of [1, 10, 12]) {
      const mixed = new Uint8Array([...bytes.subarray(0, content + end - before)]);
      const pieces = [joined(mixed, bytesOf(busy)), bytes.subarray(content + end - before), bytesOf(next)];
      const [shortened, ...others] = await received(pieces, 3, longest);
      assert.deepEqual(texts(others), ["busy", "next"], `${before} before ${end}`);
      assert.equal(fullLength(shortened[5]), long[5].length);
      assert.deepEqual(shortened[5], long[5].subarray(0, longest));
    }
  }
});

Deno.test("what only looks like a beginning stays where it is, and nothing waits for what need not come", async () => {
  const almost = Uint8Array.of(1, 9, ...encoder.encode("<IDS|MSG"));
  const alike = [
    message("a", almost), // bytes of a widget, the last of its message
    message("b", joined(almost, almost), Uint8Array.of(1)),
    message("<IDS|MSG>".repeat(40)),
    message("c", Uint8Array.of(1, 9), new Uint8Array(265)),
    [encoder.encode("a topic"), ...message("d")], // other kernels name their messages so
    [Uint8Array.of(9)],
  ];
  for (const frames of alike) assert.deepEqual(await received([bytesOf(frames)], 1), [frames]);
});

Deno.test("ports that somebody will take are not given away, and none is one that systems give to outgoing connections", () => {
  const promised = Array.from({ length: 16_990 }, (_, i) => 15_000 + i); // all but ten
  const { shell_port, iopub_port, stdin_port, control_port, hb_port } = freeConnection(promised);
  for (const port of [shell_port, iopub_port, stdin_port, control_port, hb_port]) {
    assert.ok(port >= 31_990 && port < 32_000, `${port}`);
  }
});
