import { readFile, rm } from 'node:fs/promises';
import type { z } from 'zod';
import { replaceFile } from './replace-file.ts';

/** One thing that programs in two containers tell each other, in a directory that both see. Neither sees the other's processes. */
export interface ExchangeFile<T> {
  /** @returns undefined when it is not there or says nothing that can be understood */
  read(): Promise<T | undefined>;
  write(value: T): Promise<void>;
  remove(): Promise<void>;
}

export function createExchangeFile<T>(path: string, schema: z.ZodType<T>): ExchangeFile<T> {
  return {
    read: async () => {
      try {
        return schema.parse(JSON.parse(await readFile(path, 'utf8')));
      } catch {
        return undefined;
      }
    },
    write: (value) => replaceFile(path, `${JSON.stringify(value)}\n`),
    remove: () => rm(path, { force: true }),
  };
}
