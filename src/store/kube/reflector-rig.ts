import { expect, vi } from 'vitest';
import type { Kind } from '../../api/kinds.ts';
import { createTestClock, type TestClock } from '../../lib/test-clock.ts';
import { createHub } from '../hub.ts';
import { KubeApiError } from './kube-client.ts';
import { type Reflector, startReflector } from './reflector.ts';
import { createScriptedClient, type ScriptedClient } from './scripted-client.ts';

export const PATIENCE = { timeout: 30_000, interval: 2 };
export const GONE = new KubeApiError(410, 'Expired', 'too old resource version: 5 (9)');
export const FORBIDDEN = new KubeApiError(403, 'Forbidden', 'nodes is forbidden: User "b1" cannot list resource "nodes"');

/** A reflector whose API server, clock and watchers are the test's. */
export interface Rig {
  readonly client: ScriptedClient;
  readonly clock: TestClock;
  readonly reflector: Reflector;
  /** What the watchers heard: `set a1@5`, `delete a1`, `synced`. */
  readonly words: string[];
  /** `MESSAGE in N ms`. */
  readonly failures: string[];
  readonly contacts: number[];
  /** `PATH: MESSAGE` at each change of the problems. */
  readonly problems: string[][];
}

const open: Reflector[] = [];

/** Call it after each test. */
export function stopReflectors(): void {
  for (const reflector of open.splice(0)) reflector.stop();
}

export function start({ kind = 'Node', random = () => 0.5 }: { readonly kind?: Kind; readonly random?: () => number } = {}): Rig {
  const [client, clock, hub] = [createScriptedClient(), createTestClock(), createHub()];
  const [words, failures, contacts, problems]: [string[], string[], number[], string[][]] = [[], [], [], []];
  const reflector = startReflector({
    client,
    kind,
    namespace: undefined,
    fieldSelector: undefined,
    hub,
    clock,
    random,
    onContact: () => void contacts.push(clock.now()),
    onFailure: (error, retryInMs) => void failures.push(`${(error as Error).message} in ${retryInMs} ms`),
    onProblems: () => void problems.push(reflector.problems().map(({ source, path, message }) => `${source} ${path}: ${message}`)),
  });
  open.push(reflector);
  hub.watch(
    kind,
    (event) => {
      if (event.type === 'synced') words.push('synced');
      else if (event.type === 'delete') words.push(`delete ${event.name}`);
      else words.push(`set ${event.object.metadata.name}@${event.object.metadata.resourceVersion}`);
    },
    reflector.synced,
  );
  return { client, clock, reflector, words, failures, contacts, problems };
}

export const node = (name: string, version: number): object => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, resourceVersion: String(version) },
});

/** Items of built-in kinds come without apiVersion and kind. */
export function list(version: number, names: Readonly<Record<string, number>>, next?: string): object {
  const items = Object.entries(names).map(([name, own]) => ({ metadata: { name, resourceVersion: String(own) } }));
  return { metadata: { resourceVersion: String(version), ...(next !== undefined && { continue: next }) }, items };
}

export const added = (name: string, version: number): object => ({ type: 'ADDED', object: node(name, version) });
export const modified = (name: string, version: number): object => ({ type: 'MODIFIED', object: node(name, version) });
export const deleted = (name: string, version: number): object => ({ type: 'DELETED', object: node(name, version) });
export const bookmark = (version: number): object => ({
  type: 'BOOKMARK',
  object: { kind: 'Node', metadata: { resourceVersion: String(version) } },
});
export const errorLine = (code: number, reason: string): object => ({
  type: 'ERROR',
  object: { kind: 'Status', code, reason, message: reason },
});

/** Lets the time pass for which the reflector pauses; whoever waits for its next request knows that it paused. */
export async function passTime({ clock, client }: Rig, ms: number): Promise<void> {
  const before = client.asked.length;
  await vi.waitFor(() => {
    clock.advance(ms);
    expect(client.asked.length).toBeGreaterThan(before);
  }, PATIENCE);
}

export async function synced(rig: Rig): Promise<void> {
  (await rig.client.nextRequest()).answer(list(5, { a1: 3, b1: 4 }));
  await vi.waitFor(() => expect(rig.words).toEqual(['set a1@3', 'set b1@4', 'synced']), PATIENCE);
  rig.words.length = 0;
}
