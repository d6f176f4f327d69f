/**
 * Child processes that can't hang.
 *
 * @module
 */

/** Options of {@linkcode runProcess}. */
export interface ProcessOptions {
  /** Working folder. */
  cwd: string;
  /** Milliseconds until it is killed. */
  timeout: number;
  /** Environment on top of this process's own. */
  env?: Record<string, string>;
  /** Gets every line of standard output as it comes. */
  onLine?: (line: string) => void;
}

/** How a process ended. */
export interface ProcessResult {
  /** The exit code; 124 where it was killed for the time it took. */
  readonly code: number;
  /** All that it wrote, standard output and standard error mixed. */
  readonly output: string;
}

/** Runs a program to its end, without standard input. */
export async function runProcess(
  command: string,
  args: string[],
  options: ProcessOptions,
): Promise<ProcessResult> {
  const child = new Deno.Command(command, {
    args,
    cwd: options.cwd,
    env: options.env ?? {},
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let output = "";
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, options.timeout);
  const collect = async (stream: ReadableStream<Uint8Array>, onLine?: (line: string) => void) => {
    let partial = "";
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      const text = decoder.decode(bytes, { stream: true });
      output += text;
      if (!onLine) continue;
      const lines = (partial + text).split("\n");
      partial = lines.pop()!;
      for (const line of lines) onLine(line);
    }
    if (onLine && partial) onLine(partial);
  };
  const [status] = await Promise.all([
    child.status,
    collect(child.stdout, options.onLine),
    collect(child.stderr),
  ]);
  clearTimeout(timer);
  if (late) output += `\nkilled after ${options.timeout / 1000} s\n`;
  return { code: late ? 124 : status.code, output };
}
