import type { Expected, Fault } from './fault.ts';
import type { Round } from './round.ts';

/** What is wrong with a round. Pure. */
export interface Verdict {
  /** States that must hold on any machine: the run fails by them. */
  readonly failures: readonly string[];
  /** Figures beyond the budget: said, but a busy machine may be the cause. */
  readonly excesses: readonly string[];
}

export function judge({ expected }: Fault, round: Round): Verdict {
  const { traffic, budgetMs, healingCosts } = expected;
  const lost = lostIn(round.pings);
  const outageMs = Math.max(0, ...round.pings.map((each) => each.outageMs));
  const healingLost = lostIn(round.pingsHealing);
  return {
    failures: [
      ...(round.error === undefined ? carrierComplaints(expected, round) : [round.error]),
      ...round.streams.filter(({ alive }) => !alive).map(({ way, error }) => `TCP ${way} broke${error === undefined ? '' : `: ${error}`}`),
      ...round.stale.map(({ node, what }) => `not as planned, ${node}: ${what}`),
      ...round.foreign.map(({ node, what }) => `foreign, ${node}: ${what}`),
    ],
    excesses: [
      ...(traffic === 'always' && lost > 0 ? [`${lost} packets lost, none may be`] : []),
      ...(budgetMs !== undefined && outageMs > budgetMs ? [`${outageMs} ms without an answer, ${budgetMs} allowed`] : []),
      ...(traffic !== 'healed' && healingCosts !== true && round.returned && healingLost > 0
        ? [`${healingLost} packets lost when it was healed`]
        : []),
    ],
  };
}

function carrierComplaints({ traffic, carrier }: Expected, round: Round): string[] {
  if (traffic !== 'healed' && !round.returned) return ['packets do not pass until it is healed'];
  if (carrier === 'moves' && round.carrierThen === round.carrier) return [`${round.carrier} goes on to carry`];
  if (carrier === 'stays' && round.carrierThen !== round.carrier)
    return [`${round.carrierThen ?? 'nobody'} carries instead of ${round.carrier}`];
  return [];
}

export function lostIn(pings: Round['pings']): number {
  return pings.reduce((sum, each) => sum + each.lost, 0);
}
