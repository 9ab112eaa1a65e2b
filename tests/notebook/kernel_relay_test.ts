/** The kernel's parent as others see it: strangers on its sockets, front ends that vanish, ends of every kind. */
import assert from "node:assert/strict";
import { putTogether, toJson } from "../../lib/notebook/message.ts";
import { COMMANDS, RawClient } from "./raw_client.ts";

const cwd = new URL("../../", import.meta.url).pathname;
const linux = Deno.build.os === "linux";
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const encoder = new TextEncoder();

async function withKernel(use: (client: RawClient) => Promise<void>): Promise<void> {
  const client = await RawClient.start(COMMANDS.ours, cwd);
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

/** The cell `6 * 7` gives 42: the kernel lives and answers. */
async function lives(client: RawClient): Promise<void> {
  const { messages } = await client.execute("6 * 7");
  assert.deepEqual(messages.map(({ content }) => (content.data as Record<string, string>)["text/plain"]), ["42"]);
}

const isAlive = (pid: number) => {
  try {
    return !/\) Z /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
};

/** A process, the processes it has started, and theirs. */
function family(pid: number): number[] {
  const children = [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) =>
    Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).split(" ").filter(Boolean).map(Number)
  );
  return [pid, ...children.flatMap(family)];
}

async function allEnd(pids: number[], limitMs: number): Promise<void> {
  for (const until = performance.now() + limitMs; pids.some(isAlive); await pause(20)) {
    assert.ok(performance.now() < until, `still there after ${limitMs} ms: ${pids.filter(isAlive)}`);
  }
}

Deno.test("what is not signed with the kernel's key gets no answer and is not run", async () => {
  await withKernel(async (client) => {
    const content = { code: "globalThis.intruder = true", silent: false };
    for (const channel of ["shell", "control"] as const) {
      const { reply } = client.send(channel, "kernel_info_request", {}, "wrong key");
      assert.equal(await Promise.race([reply, pause(200)]), undefined);
    }
    const { reply, id } = client.send("shell", "execute_request", content, "wrong key");
    client.send("control", "shutdown_request", { restart: false }, "");
    assert.equal(await Promise.race([reply, pause(200)]), undefined);
    assert.ok(!client.published.some(({ parent_header }) => parent_header.msg_id === id));
    const { messages } = await client.execute("typeof intruder");
    assert.equal((messages[0].content.data as Record<string, string>)["text/plain"], '"undefined"');
  });
});

Deno.test("garbage on any socket harms nobody", async () => {
  await withKernel(async (client) => {
    const { shell_port, iopub_port, control_port, stdin_port, hb_port } = client.connection;
    const greeting = new Uint8Array(64);
    greeting.set([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, ...encoder.encode("NULL")]);
    const garbage = [
      encoder.encode("GET / HTTP/1.1\r\n\r\n"),
      new Uint8Array(64).fill(7),
      new Uint8Array([...greeting, 4, 3, 1, 2, 3]), // no READY
      new Uint8Array([...greeting, 4, 6, 5, ...encoder.encode("READY"), 2, 0x7f, ...Array(7).fill(0xff)]), // 2^63 bytes
      new Uint8Array([...greeting, 4, 6, 5, ...encoder.encode("READY"), 0xf8, 1, 1]), // flags that do not exist
      greeting.subarray(0, 20),
    ];
    for (const port of [shell_port, iopub_port, control_port, stdin_port, hb_port]) {
      for (const bytes of garbage) {
        const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
        await tcp.write(bytes);
        await pause(5);
        tcp.close();
      }
    }
    const empty = toJson({});
    const header = toJson({ msg_id: "a", msg_type: "execute_request", session: "s", username: "u", version: "5.3" });
    const shell = await client.another("shell");
    const signed = (parts: Record<string, Uint8Array>) =>
      putTogether(client.connection.key, { header, parent: empty, metadata: empty, content: empty, ...parts });
    const notJson = encoder.encode("{");
    for (
      const frames of [
        [],
        [empty],
        signed({ header: notJson }),
        signed({ content: notJson }),
        signed({ header: toJson([]) }),
        signed({ header: toJson({ msg_type: 1 }) }),
        signed({ content: toJson("text") }),
      ]
    ) {
      if (frames.length) await shell.send(frames);
    }
    await shell.send(signed({ header: toJson({ msg_id: "b", msg_type: "no_such_request" }), content: empty }));
    shell.close();
    await lives(client);
  });
});

Deno.test("every socket listens on the loopback only", { ignore: !linux }, async () => {
  await withKernel((client) => {
    const ports = Object.entries(client.connection).filter(([name]) => name.endsWith("_port")).map(([, port]) => port);
    const listening = ["tcp", "tcp6"].flatMap((name) => {
      try {
        return Deno.readTextFileSync(`/proc/net/${name}`).split("\n").slice(1).filter((line) => / 0A /.test(line));
      } catch {
        return []; // no IPv6
      }
    }).map((line) => line.trim().split(/\s+/)[1].split(":"));
    for (const port of ports) {
      const addresses = listening.filter(([, hex]) => parseInt(hex, 16) === port).map(([address]) => address);
      assert.deepEqual(addresses, ["0100007F"], String(port));
    }
    return Promise.resolve();
  });
});

Deno.test("a front end that vanishes in the middle of a cell leaves a kernel that serves the next one", async () => {
  await withKernel(async (client) => {
    const iopub = await client.another("iopub");
    const shell = await client.another("shell");
    await client.execute("const start = performance.now()");
    client.send("shell", "execute_request", {
      code:
        "for (let k = 0; k < 40; k++) { console.log('y'.repeat(2e5)); await new Promise((f) => setTimeout(f, 10)); }",
      silent: false,
    });
    await pause(100);
    client.vanish();
    const header = toJson({ msg_id: "next", msg_type: "execute_request", session: "n", username: "n", version: "5.3" });
    const content = toJson({ code: "console.log('served')", silent: false, store_history: true, allow_stdin: false });
    const empty = toJson({});
    await shell.send(putTogether(client.connection.key, { header, parent: empty, metadata: empty, content }));
    const reply = new TextDecoder().decode((await shell.receive()).at(-1));
    assert.match(reply, /"status":"ok"/);
    for (let text = ""; !text.includes("served\\n");) text = new TextDecoder().decode((await iopub.receive()).at(-1));
    iopub.close();
    shell.close();
  });
});

Deno.test("cells that wait behind one that fails are not run", async () => {
  await withKernel(async (client) => {
    const cells = [
      "await new Promise((f) => setTimeout(f, 100)); throw new Error('first')",
      "globalThis.second = 1",
      "3",
    ];
    const content = { silent: false, store_history: true, stop_on_error: true };
    const replies = await Promise.all(
      cells.map((code) => client.send("shell", "execute_request", { ...content, code }).reply),
    );
    assert.deepEqual(replies.map(({ content }) => content.status), ["error", "aborted", "aborted"]);
    const { messages } = await client.execute("typeof second");
    assert.equal((messages[0].content.data as Record<string, string>)["text/plain"], '"undefined"');

    const lenient = await Promise.all(
      cells.map((code) => client.send("shell", "execute_request", { ...content, code, stop_on_error: false }).reply),
    );
    assert.deepEqual(lenient.map(({ content }) => content.status), ["error", "ok", "ok"]);
  });
});

Deno.test("a cell may ask, and the front end that asked for it answers", async () => {
  await withKernel(async (client) => {
    client.onQuestion = ({ header, content }) => {
      assert.deepEqual([header.msg_type, content.prompt], ["input_request", "name"]);
      client.send("stdin", "input_reply", { status: "ok", value: "Ada" });
    };
    const { messages } = await client.execute("prompt('name')", { allow_stdin: true });
    assert.equal((messages[0].content.data as Record<string, string>)["text/plain"], '"Ada"');
  });
});

Deno.test("Stop by a message does what Stop by a signal does", async () => {
  await withKernel(async (client) => {
    for (const code of ["while (true);", "await new Promise(() => {})"]) {
      const running = client.execute(code);
      await pause(200);
      assert.equal((await client.request("control", "interrupt_request", {})).content.status, "ok");
      const { reply: { content } } = await running;
      assert.deepEqual([content.ename, content.evalue], ["AbortError", "stopped by the user"]);
    }
    await lives(client);
  });
});

Deno.test("a restart ends a busy kernel at once, and all that it has started", { ignore: !linux }, async () => {
  for (const code of ["while (true);", "await new Promise(() => {})"]) {
    const client = await RawClient.start(COMMANDS.ours, cwd);
    await client.execute("new Deno.Command('sleep', { args: ['1000'] }).spawn(); 1");
    client.send("shell", "execute_request", { code, silent: false });
    await pause(100);
    const processes = family(client.process.pid);
    assert.ok(processes.length >= 4, "the parent, the kernel, the watcher, the cell's own"); // fails where one is missing
    const { content } = await client.request("control", "shutdown_request", { restart: true });
    assert.deepEqual(content, { status: "ok", restart: true });
    await allEnd(processes, 2000);
    await client.end();
  }
});

Deno.test("nothing stays behind, whatever dies first", { ignore: !linux }, async () => {
  for (const first of ["the parent", "the kernel"]) {
    const client = await RawClient.start(COMMANDS.ours, cwd);
    await client.execute("new Deno.Command('sleep', { args: ['1000'] }).spawn(); 1");
    const processes = family(client.process.pid);
    const kernel = processes.find((pid) => /jupyter/.test(Deno.readTextFileSync(`/proc/${pid}/cmdline`)));
    Deno.kill(first === "the parent" ? client.process.pid : kernel!, "SIGKILL");
    await allEnd(processes, 3000);
    await client.end();
  }
});

Deno.test("a kernel that dies in a cell is an error of that cell", async () => {
  await withKernel(async (client) => {
    // the pause, because what has not left the kernel when it ends has gone with it
    const { reply, messages } = await client.execute(
      "console.log('before'); await new Promise((resolve) => setTimeout(resolve, 300)); Deno.exit(3)",
    );
    assert.equal(reply.content.status, "error");
    assert.equal(messages[0].content.text, "before\n");
    assert.match(
      String(messages[1].content.evalue),
      /^the kernel ended by itself \(exit 3: a cell or a library called Deno\.exit\); what the notebook has defined is lost$/,
    );
    assert.equal((await client.process.status).code, 3);
  });
});

Deno.test("100 MB of outputs leave the parent below 200 MB", { ignore: !linux }, async () => {
  await withKernel(async (client) => {
    const largest = () =>
      Number(Deno.readTextFileSync(`/proc/${client.process.pid}/status`).match(/VmHWM:\s+(\d+)/)![1]) / 1000;
    await client.execute(
      "for (let k = 0; k < 100; k++) await Deno.jupyter.display({ 'text/plain': 'x'.repeat(9.9e5) }, { raw: true })",
    );
    assert.equal(client.published.filter(({ header }) => header.msg_type === "display_data").length, 100);
    await client.execute("console.log('x'.repeat(100e6))");
    assert.ok(largest() < 200, `${largest()} MB`);
  });
});
