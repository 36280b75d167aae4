import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { compareText } from '../../lib/compare.ts';
import { formatEndpoint, type IpEndpoint, parseEndpoint } from '../../net/endpoint.ts';
import { replaceFile } from './replace-file.ts';

/** By peer: where it was heard last. */
export type HeardAt = ReadonlyMap<string, IpEndpoint>;

/**
 * Where peers were heard last, kept beyond the daemon and the agent. A VPN that starts anew knows nothing of its peers' SAs, and those behind a NAT
 * find out only when nothing was answered for a while; with this they can be told by a call.
 */
export interface HeardFile {
  read(): Promise<HeardAt>;
  /** Takes in what was heard now, and forgets peers that are not `planned`. Writes only what differs. */
  note(heard: HeardAt, planned: readonly string[]): Promise<void>;
  remove(): Promise<void>;
}

const schema = z.record(z.string(), z.string());

/** @param runDir goes with a reboot: nobody waits for a call then */
export function createHeardFile(runDir: string, name: string): HeardFile {
  const path = join(runDir, name);
  let known: HeardAt | undefined;

  async function read(): Promise<HeardAt> {
    known ??= parse(await readFile(path, 'utf8').catch(() => '{}'));
    return known;
  }

  async function note(heard: HeardAt, planned: readonly string[]): Promise<void> {
    const before = await read();
    const now = new Map([...before, ...heard].filter(([peer]) => planned.includes(peer)));
    if (format(now) === format(before)) return;
    await replaceFile(path, format(now));
    known = now;
  }

  async function remove(): Promise<void> {
    known = new Map();
    await rm(path, { force: true });
  }

  return { read, note, remove };
}

function format(heard: HeardAt): string {
  const rows = [...heard].map(([peer, endpoint]) => [peer, formatEndpoint(endpoint)] as const);
  return `${JSON.stringify(Object.fromEntries(rows.toSorted(([a], [b]) => compareText(a, b))))}\n`;
}

/** What cannot be understood is as good as nothing: peers will call. */
function parse(text: string): HeardAt {
  try {
    return new Map(
      Object.entries(schema.parse(JSON.parse(text))).flatMap(([peer, at]): [string, IpEndpoint][] => {
        const endpoint = parseEndpoint(at);
        return endpoint === undefined ? [] : [[peer, endpoint]];
      }),
    );
  } catch {
    return new Map();
  }
}
