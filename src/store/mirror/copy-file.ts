import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kind } from '../../api/kinds.ts';

/** The file that holds the copy of one kind. */
export interface CopyFile {
  readonly path: string;
  /** @returns its text and when it was written; undefined when there is none */
  read(): Promise<{ readonly text: string; readonly savedMs: number } | undefined>;
  /** Replaces the file as a whole: after a crash or a power cut there is the old one or the new one. Never leaves a part of one behind. */
  write(text: string): Promise<void>;
}

/** Where the copies of an agent stand. */
export function mirrorDir(stateDir: string): string {
  return join(stateDir, 'mirror');
}

/** Removes all copies. Idempotent. @returns whether there was something */
export async function removeMirror(stateDir: string): Promise<boolean> {
  const dir = mirrorDir(stateDir);
  const existed = await stat(dir).then(
    () => true,
    () => false,
  );
  await rm(dir, { recursive: true, force: true });
  return existed;
}

export function createCopyFile(dir: string, kind: Kind): CopyFile {
  const path = join(dir, `${kind}.jsonl`);
  const temporary = join(dir, `.${kind}.jsonl.new`);

  async function read(): ReturnType<CopyFile['read']> {
    try {
      const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
      return { text, savedMs: mtimeMs };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async function write(text: string): Promise<void> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    // It may be there since before, or the umask may have had its say.
    await chmod(dir, 0o700);
    try {
      await save(temporary, text);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    await syncDirectory(dir);
  }

  return { path, read, write };
}

async function save(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    // Before the rename, or a power cut may leave the new name with nothing behind it (`rename(2)` says nothing about content).
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
