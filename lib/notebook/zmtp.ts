/**
 * The little of ZeroMQ that a Jupyter client needs: ZMTP 3.0 with the NULL mechanism over TCP, loopback only. Written
 * out because it is short, and the alternative is a compiled addon.
 *
 * Protocol: https://rfc.zeromq.org/spec/23/
 *
 * @module
 */
const encoder = new TextEncoder();

const MORE = 1;
const LONG = 2;
const COMMAND = 4;
const SUBSCRIBE_TO_ALL = Uint8Array.of(1);

/** One connection to a kernel's socket. */
export class Connection {
  #tcp: Deno.TcpConn;
  #pending: Uint8Array = new Uint8Array(0);
  #writing: Promise<void> = Promise.resolve();

  private constructor(tcp: Deno.TcpConn) {
    this.#tcp = tcp;
  }

  /**
   * Connects to a socket on this machine.
   *
   * @param port TCP port of the kernel's socket.
   * @param type Our end: DEALER for requests and replies, SUB for what the kernel publishes.
   */
  static async open(port: number, type: "DEALER" | "SUB"): Promise<Connection> {
    const connection = new Connection(await Deno.connect({ hostname: "127.0.0.1", port }));
    try {
      await connection.#greet(type);
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  async #greet(type: string): Promise<void> {
    const greeting = new Uint8Array(64);
    greeting.set([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0]); // signature, version 3.0
    greeting.set(encoder.encode("NULL"), 12);
    await this.#write(greeting);
    await this.#read(64);

    const property = (
      name: string,
      value: string,
    ) => [name.length, ...encoder.encode(name), 0, 0, 0, value.length, ...encoder.encode(value)];
    const ready = [5, ...encoder.encode("READY"), ...property("Socket-Type", type), ...property("Identity", "")];
    await this.#write(Uint8Array.from([COMMAND, ready.length, ...ready]));
    await this.#readFrame(); // the kernel's READY
    if (type === "SUB") await this.send([SUBSCRIBE_TO_ALL]);
  }

  /** Sends one message of several frames. */
  send(frames: Uint8Array[]): Promise<void> {
    const parts: Uint8Array[] = [];
    frames.forEach((frame, index) => {
      const more = index < frames.length - 1 ? MORE : 0;
      if (frame.length < 256) {
        parts.push(Uint8Array.of(more, frame.length));
      } else {
        const header = new Uint8Array(9);
        header[0] = more | LONG;
        new DataView(header.buffer).setBigUint64(1, BigInt(frame.length));
        parts.push(header);
      }
      parts.push(frame);
    });
    this.#writing = this.#writing.then(() => this.#write(concatenate(parts)));
    return this.#writing;
  }

  /** Waits for the next message. Throws when the kernel has closed the connection. */
  async receive(): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = [];
    while (true) {
      const frame = await this.#readFrame();
      if (frame.flags & COMMAND) continue;
      frames.push(frame.body);
      if (!(frame.flags & MORE)) return frames;
    }
  }

  close(): void {
    try {
      this.#tcp.close();
    } catch {
      // closed already
    }
  }

  async #readFrame(): Promise<{ flags: number; body: Uint8Array }> {
    const flags = (await this.#read(1))[0];
    const size = await this.#read(flags & LONG ? 8 : 1);
    const length = flags & LONG ? Number(new DataView(size.buffer, size.byteOffset).getBigUint64(0)) : size[0];
    return { flags, body: (await this.#read(length)).slice() };
  }

  async #read(length: number): Promise<Uint8Array> {
    const parts = [this.#pending];
    let have = this.#pending.length;
    while (have < length) {
      const part = new Uint8Array(65536);
      const count = await this.#tcp.read(part);
      if (count === null) throw new Error("the kernel closed the connection");
      parts.push(part.subarray(0, count));
      have += count;
    }
    const bytes = parts.length > 1 ? concatenate(parts) : this.#pending;
    this.#pending = bytes.subarray(length);
    return bytes.subarray(0, length);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) sent += await this.#tcp.write(bytes.subarray(sent));
  }
}

/** Connects as soon as somebody listens on the port; a kernel that starts needs a moment. */
export async function openWhenListening(port: number, type: "DEALER" | "SUB", limitMs: number): Promise<Connection> {
  const until = performance.now() + limitMs;
  while (true) {
    try {
      return await Connection.open(port, type);
    } catch (error) {
      if (performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

function concatenate(parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
