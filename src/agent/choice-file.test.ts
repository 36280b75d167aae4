import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Logger } from '../lib/logger.ts';
import { createChoiceFile, loadChoices } from './choice-file.ts';

const noLog = { warn: () => undefined } as unknown as Logger;
let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'raven-choices-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

it('gives a new agent what the one before it chose, and nothing when there is nothing that can be read', async () => {
  const file = createChoiceFile(dir, noLog);
  expect(await loadChoices(dir)).toBeUndefined();
  const memory = {
    choices: { exits: ['b3'], entry: new Map([['a', 'a1']]) },
    orders: new Map([['exit/b', { live: 'b1 b3', sinceMs: 7 }]]),
  };
  file.save(memory);
  await expect.poll(() => loadChoices(dir)).toEqual(memory);
  const shared = { ...memory, choices: { ...memory.choices, exits: ['b3', 'b1'] } };
  file.save(shared);
  await expect.poll(() => loadChoices(dir)).toEqual(shared);
  await writeFile(join(dir, 'choices.json'), '{"exit":');
  expect(await loadChoices(dir)).toBeUndefined();
});
