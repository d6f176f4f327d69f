import * as fs from "node:fs";
import type { FileSystem } from "../../../plugins/training/run_files.ts";

/** A disk that is full after so many bytes. */
export function fullAfter(bytes: number): FileSystem {
  let left = bytes;
  return {
    ...fs,
    writeSync: ((fd: number, data: Uint8Array, offset: number, length: number) => {
      if (left === 0) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
      const taken = Math.min(left, length);
      left -= taken;
      return fs.writeSync(fd, data, offset, taken);
    }) as typeof fs.writeSync,
  };
}
