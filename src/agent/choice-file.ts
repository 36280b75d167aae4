import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { ChoiceMemory } from '../domain/reroute-state.ts';
import { replaceFile } from '../drivers/tunnel/replace-file.ts';
import { messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

/** What a node chose by itself, kept while its agent is away. A reboot forgets it. */
export interface ChoiceFile {
  save(memory: ChoiceMemory): void;
}

const entries = <T extends z.ZodType>(value: T) => z.array(z.tuple([z.string(), value]));

const memoryJson = z.object({
  exit: z.string().optional(),
  /** Of the second lane. */
  secondExit: z.string().optional(),
  entry: entries(z.string()),
  orders: entries(z.object({ live: z.string(), sinceMs: z.number(), ruledMs: z.number().exactOptional() })),
});

/** undefined when there is none that can be read. */
export async function loadChoices(runDir: string): Promise<ChoiceMemory | undefined> {
  try {
    const { exit, secondExit, entry, orders } = memoryJson.parse(JSON.parse(await readFile(pathIn(runDir), 'utf8')));
    const exits = secondExit === undefined ? [exit] : [exit, secondExit];
    return { choices: { exits, entry: new Map(entry) }, orders: new Map(orders) };
  } catch {
    return undefined;
  }
}

function pathIn(runDir: string): string {
  return join(runDir, 'choices.json');
}

export function createChoiceFile(runDir: string, log: Logger): ChoiceFile {
  const path = pathIn(runDir);
  let last: Promise<void> = Promise.resolve();
  const write = async ({ choices, orders }: ChoiceMemory): Promise<void> => {
    const { exits, entry } = choices;
    if (exits.every((exit) => exit === undefined) && entry.size === 0) return rm(path, { force: true });
    const [exit, secondExit] = exits;
    await replaceFile(path, `${JSON.stringify({ exit, secondExit, entry: [...entry], orders: [...orders] })}\n`);
  };
  return {
    save: (memory) => {
      last = last.then(() => write(memory)).catch((error: unknown) => log.warn({ path, error: messageOf(error) }, 'choices are not kept'));
    },
  };
}
