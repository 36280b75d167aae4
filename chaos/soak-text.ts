import { formatTable } from '../bench/table.ts';
import type { Driver, Store } from './rig.ts';
import { formatEvent, type SoakReport } from './soak.ts';

export interface RigSoak extends SoakReport {
  readonly driver: Driver;
  readonly store: Store;
}

/** History, losses and the end of each soak. Pure. */
export function formatSoaks(soaks: readonly RigSoak[]): string {
  return soaks.map(formatSoak).join('');
}

function formatSoak({ driver, store, seed, history, pings, streams, returned, exactAfterMs, stale, foreign }: RigSoak): string {
  const rows = pings.map(({ way, lost, outageMs }) => [way, lost, outageMs]);
  const end = [
    `packets ${returned ? 'pass' : 'do not pass'} after all was healed`,
    ...streams.map(({ way, alive, longestStallMs, error }) => {
      return `TCP ${way} ${alive ? 'alive' : `broken${error === undefined ? '' : `: ${error}`}`}, longest stall ${(longestStallMs / 1000).toFixed(1)} s`;
    }),
    exactAfterMs === undefined
      ? 'kernels are not as planned:'
      : `kernels are as planned, ${(exactAfterMs / 1000).toFixed(1)} s after packets passed`,
    ...stale.map(({ node, what }) => `  ${node}: ${what}`),
    foreign.length === 0 ? 'foreign objects are untouched' : 'foreign objects are gone or changed:',
    ...foreign.map(({ node, what }) => `  ${node}: ${what}`),
  ];
  const title = `soak, ${driver}, ${store} store, seed ${seed}`;
  return `${formatTable(title, ['way', 'lost', 'longest ms without an answer'], rows)}\n${[...history.map(formatEvent), '', ...end].join('\n')}\n`;
}
