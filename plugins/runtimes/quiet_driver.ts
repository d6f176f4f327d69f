/**
 * Keeps Mesa from complaining about a desktop that nobody asked for.
 *
 * @module
 */

interface Process {
  readonly platform: string;
  readonly env: Record<string, string | undefined>;
}

/**
 * Runs `task` with XDG_RUNTIME_DIR set. Where it is not, as in most containers, Mesa's window
 * system code prints errors on every look at the adapters, though no window is wanted.
 */
export async function withRuntimeDir<T>(task: () => Promise<T>): Promise<T> {
  const { process } = globalThis as { process?: Process };
  const key = "XDG_RUNTIME_DIR";
  let set = false;
  try {
    if (process?.platform === "linux" && process.env[key] === undefined) {
      process.env[key] = "/tmp";
      set = true;
    }
  } catch {
    // Deno without leave to touch the environment: then the errors are printed.
  }
  try {
    return await task();
  } finally {
    if (set) delete process!.env[key];
  }
}
