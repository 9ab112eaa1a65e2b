/**
 * `jupyter_kernel_test`, the protocol tests that the Jupyter project offers for kernels, on both kernels. It is installed
 * into a folder of its own, for this run.
 *
 * @module
 */
import { venvProgram } from "../../lib/notebook/paths.ts";
import { type KernelName, KERNELS } from "./nbclient.ts";

/** Which tests passed, failed, and were skipped because the kernel does not offer what they test. */
export interface KernelTestResult {
  passed: string[];
  failed: string[];
  skipped: string[];
}

const PIN = "jupyter-kernel-test==0.7.0";

/** Cells that do what the tests ask for. Completion and inspection are Deno's own, and handed on as they are. */
const TESTS = `
import json, sys, unittest
sys.path.insert(0, sys.argv[1])
import jupyter_kernel_test

class DenoKernelTests(jupyter_kernel_test.KernelTests):
    kernel_name = sys.argv[2]
    language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('oh no')"
    code_generate_error = "throw new Error('on purpose')"
    code_execute_result = [
        {"code": "6 * 7", "result": "42"}, {"code": "'a' + 'b'", "result": '"ab"'},
        {"code": "null", "result": "null"}, {"code": "NaN", "result": "NaN"}, {"code": "2n ** 64n", "result": "18446744073709551616n"},
    ]
    code_display_data = [
        {"code": "await Deno.jupyter.display({'image/svg+xml': '<svg/>'}, {raw: true})", "mime": "image/svg+xml"},
    ]
    code_clear_output = "console.clear()"
    completion_samples = [{"text": "Deno.mem", "matches": {"memoryUsage"}}, {"text": "struct", "matches": {"structuredClone"}}]
    complete_code_samples = ["1", "const a = [1, 2]", "console.log('a')"]
    incomplete_code_samples = ["function f() {", "[1, 2", "('a'"]
    invalid_code_samples = ["a)", "]"]

passed = []

class Result(unittest.TestResult):
    def addSuccess(self, test):
        passed.append(test.id().split(".")[-1])

result = Result()
unittest.defaultTestLoader.loadTestsFromTestCase(DenoKernelTests).run(result)
names = lambda pairs: sorted({test.id().split(".")[-1].split(" ")[0] for test, _ in pairs})
failed = names(result.failures + result.errors)
print(json.dumps({"passed": sorted(set(passed) - set(failed)), "failed": failed, "skipped": names(result.skipped)}))
`;

/** Runs the tests on both kernels. */
export async function kernelTests(kernelspecs: string): Promise<Record<KernelName, KernelTestResult>> {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-kernel-tests-" });
  const python = async (args: string[]) => {
    const env = { JUPYTER_PATH: kernelspecs };
    const { success, stdout, stderr } = await new Deno.Command(venvProgram("python"), { args, env }).output();
    const decoder = new TextDecoder();
    if (!success) throw new Error(`python ${args[0]} failed: ${decoder.decode(stderr).trim().split("\n").at(-1)}`);
    return decoder.decode(stdout);
  };
  try {
    await python(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", folder, PIN]);
    const results = {} as Record<KernelName, KernelTestResult>;
    for (const kernel of KERNELS) results[kernel] = JSON.parse(await python(["-c", TESTS, folder, kernel]));
    return results;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
