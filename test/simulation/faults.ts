import { createRandom, type Random } from './random.ts';
import type { World } from './world.ts';

export const FAULT_KINDS = [
  /** The machine is off; what is in its kernel and under /run is lost. */
  'power',
  /** A gateway node reaches nobody but its LAN. */
  'uplink',
  /** A node is off its region's LAN. */
  'lan',
  /** A node drops what it should forward. */
  'forward',
  /** A node does not reach the API. */
  'api',
  /** Nobody does. */
  'api-server',
  /** A region is cut off from all others, and from the API. */
  'region',
  /** A node's agent is away. */
  'agent',
  'controller',
  /** A node's watches deliver nothing, and nobody tells it so. */
  'watch',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Name of a node or region; empty where there is only one. */
  readonly target: string;
  /** After the beginning of the history. */
  readonly atMs: number;
  readonly forMs: number;
  /** agent: what it chose before is still there when it comes back. */
  readonly keepsChoices: boolean;
}

/** Long enough for all agents to have started, published and chosen. */
export const FIRST_FAULT_MS = 12_000;

export function drawFaults(seed: number, world: World): Fault[] {
  const random = createRandom(seed ^ 0x5eed);
  const faults: Fault[] = [];
  let atMs = FIRST_FAULT_MS;
  for (let left = random.int(1, 6); left > 0; left--) {
    faults.push(drawFault(random, world, atMs));
    atMs += random.spread(50, 12_000);
  }
  return faults;
}

function drawFault(random: Random, world: World, atMs: number): Fault {
  const kind = random.pick(FAULT_KINDS);
  // No machine boots faster.
  const shortestMs = kind === 'power' ? 2_000 : 300;
  return {
    kind,
    target: drawTarget(kind, random, world),
    atMs,
    forMs: random.spread(shortestMs, 25_000),
    keepsChoices: random.chance(0.6),
  };
}

function drawTarget(kind: FaultKind, random: Random, { regions, nodes }: World): string {
  switch (kind) {
    case 'api-server':
    case 'controller':
      return '';
    case 'region':
      return random.pick(regions).name;
    case 'uplink':
    case 'forward':
      return random.pick(random.pick(regions).endpoints);
    case 'power':
    case 'lan':
    case 'api':
    case 'agent':
    case 'watch':
      // Endpoints twice as often: they are what others depend on.
      return random.pick([...nodes, ...nodes.filter(({ isEndpoint }) => isEndpoint)]).name;
  }
}

export function formatFault({ kind, target, forMs, keepsChoices }: Fault): string {
  const what = target === '' ? kind : `${kind} ${target}`;
  return `${what} for ${(forMs / 1000).toFixed(2)} s${kind === 'agent' && !keepsChoices ? ', choices lost' : ''}`;
}

/** What is wrong at this moment. */
export interface Conditions {
  begin(fault: Fault): void;
  end(fault: Fault): void;
  has(kind: FaultKind, target?: string): boolean;
  /** Faults that last, oldest first. */
  current(): readonly Fault[];
}

export function createConditions(): Conditions {
  const current = new Set<Fault>();
  const counts = new Map<string, number>();
  const count = ({ kind, target }: Fault, by: number): void =>
    void counts.set(`${kind} ${target}`, (counts.get(`${kind} ${target}`) ?? 0) + by);
  return {
    begin: (fault) => {
      current.add(fault);
      count(fault, 1);
    },
    end: (fault) => {
      if (current.delete(fault)) count(fault, -1);
    },
    has: (kind, target = '') => (counts.get(`${kind} ${target}`) ?? 0) > 0,
    current: () => [...current],
  };
}
