/**
 * Jupyter messages: what they look like, how they are signed and taken apart.
 *
 * Protocol: https://jupyter-client.readthedocs.io/en/stable/messaging.html, version 5.3
 *
 * @module
 */
import { createHmac, randomUUID } from "node:crypto";

/** What a kernel writes on its sockets. Every content is JSON; who reads it checks what it uses. */
export interface Message {
  header: { msg_id: string; msg_type: string };
  parent_header: { msg_id?: string };
  metadata: Record<string, unknown>;
  content: Record<string, unknown>;
}

/** The file by which a client tells a kernel where to listen. */
export interface ConnectionFile {
  transport: "tcp";
  ip: string;
  signature_scheme: "hmac-sha256";
  key: string;
  shell_port: number;
  iopub_port: number;
  stdin_port: number;
  control_port: number;
  hb_port: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const DELIMITER = "<IDS|MSG>";

/**
 * Reads a connection file and checks that it stays on this machine.
 *
 * @throws When the file is missing, is not JSON, or names an address other than the loopback.
 */
export function readConnectionFile(path: string): ConnectionFile {
  const connection = JSON.parse(Deno.readTextFileSync(path)) as ConnectionFile;
  if (connection.transport !== "tcp" || connection.ip !== "127.0.0.1") {
    throw new Error(
      `the kernel listens on 127.0.0.1 over tcp only, but the connection file asks for ${connection.transport} on ` +
        `${connection.ip}; start Jupyter without a --ip for kernels`,
    );
  }
  return connection;
}

/** Makes a request: its id and its signed frames. */
export function packRequest(
  key: string,
  session: string,
  type: string,
  content: Record<string, unknown>,
): { id: string; frames: Uint8Array[] } {
  const id = randomUUID();
  const header = {
    msg_id: id,
    session,
    username: "tessera",
    date: new Date().toISOString(),
    msg_type: type,
    version: "5.3",
  };
  const parts = [header, {}, {}, content].map((part) => encoder.encode(JSON.stringify(part)));
  const signature = createHmac("sha256", key);
  for (const part of parts) signature.update(part);
  return { id, frames: [encoder.encode(DELIMITER), encoder.encode(signature.digest("hex")), ...parts] };
}

/** The content of a request to run code; a silent one leaves no trace in the history and the execution count. */
export function executeContent(code: string, silent: boolean): Record<string, unknown> {
  return { code, silent, store_history: !silent, user_expressions: {}, allow_stdin: false, stop_on_error: !silent };
}

/** Code that loads `lib/stop.ts` into a kernel; with it, Stop ends what waits. Loading it twice does nothing. */
export const LOAD_STOP = `await import(${JSON.stringify(new URL("../stop.ts", import.meta.url).href)}); undefined`;

/** Takes a message apart. The signature is not checked: the sender is the kernel that we started ourselves. */
export function unpack(frames: Uint8Array[]): Message {
  const start = frames.findIndex((frame) => frame.length === DELIMITER.length && decoder.decode(frame) === DELIMITER);
  if (start < 0 || frames.length < start + 6) {
    throw new Error("the kernel sent something that is not a Jupyter message");
  }
  const part = (offset: number) => JSON.parse(decoder.decode(frames[start + offset]));
  return { header: part(2), parent_header: part(3), metadata: part(4), content: part(5) };
}
