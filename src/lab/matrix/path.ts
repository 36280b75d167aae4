import type { MatrixHost, MatrixLab, MatrixPod } from './types.ts';

export interface MeasuredPath {
  readonly from: MatrixPod;
  readonly to: MatrixPod;
  /** One address of each machine on the way, without the two pods; undefined for a silent one. */
  readonly hops: readonly (string | undefined)[];
}

interface Candidate {
  readonly name: string;
  /** undefined for what is not of the lab. */
  readonly region: string | undefined;
}

interface Guess {
  readonly cost: number;
  readonly names: readonly string[];
  readonly at: Candidate;
}

/**
 * The names of the machines that a packet passed. An address that several have (the same LAN in two regions) is taken for the one
 * that makes the way plausible: the fewest changes of region from the sender's to the receiver's, and no machine twice in a row.
 * On a tie the lab's order decides.
 *
 * Pure. A silent hop is `?`; an address that nobody in the lab has stays an address.
 */
export function namePath(lab: Pick<MatrixLab, 'nodes' | 'routers'>, { from, to, hops }: MeasuredPath): string[] {
  const hosts = [...lab.nodes, ...lab.routers];
  let guesses: readonly Guess[] = [{ cost: 0, names: [], at: { name: '', region: from.region } }];
  for (const hop of hops) guesses = candidatesFor(hosts, hop).map((next) => cheapest(guesses.map((guess) => extend(guess, next))));
  const end = { name: to.name, region: to.region };
  return [...cheapest(guesses.map((guess) => ({ ...guess, cost: guess.cost + stepCost(guess.at, end) }))).names];
}

function candidatesFor(hosts: readonly MatrixHost[], hop: string | undefined): Candidate[] {
  if (hop === undefined) return [{ name: '?', region: undefined }];
  const owners = hosts.filter(({ addresses }) => addresses.includes(hop));
  return owners.length === 0 ? [{ name: hop, region: undefined }] : owners;
}

function extend({ cost, names, at }: Guess, next: Candidate): Guess {
  // A step into the unknown stays, for the comparison, where it was.
  const region = next.region ?? at.region;
  return { cost: cost + stepCost(at, next), names: [...names, next.name], at: { name: next.name, region } };
}

function stepCost(from: Candidate, to: Candidate): number {
  const changes = to.region !== undefined && to.region !== from.region ? 1 : 0;
  // Between two silent hops there is nothing to compare.
  const repeats = from.name === to.name && to.name !== '?' ? 1 : 0;
  return changes + repeats;
}

function cheapest(guesses: readonly Guess[]): Guess {
  return guesses.reduce((best, guess) => (guess.cost < best.cost ? guess : best));
}
