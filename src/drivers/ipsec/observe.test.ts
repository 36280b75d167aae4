import { describe, expect, it } from 'vitest';
import type { Connection } from './connection.ts';
import { replacedStates, unknownStates } from './observe.ts';
import type { ChildSa, IkeSa } from './sas.ts';
import { tunnel } from './test-plans.ts';

const IF_ID = 0x52000001;
const state = (spi: string) => ({ src: '192.0.2.1', dst: '192.0.2.2', spi, ifId: IF_ID });
const child = (spiIn: string, spiOut: string, installedS: number) =>
  ({ name: 'raven', id: 1, state: 'INSTALLED', spiIn, spiOut, installedS }) as unknown as ChildSa;
const saOf = (...children: readonly ChildSa[]) => [{ name: 'raven-b', id: 1, children }] as unknown as IkeSa[];
const connections = [{ name: 'raven-b', peer: 'b', tunnel: { ...tunnel('b', [], []), ifId: IF_ID } }] as unknown as Connection[];

describe('states that an earlier charon left', () => {
  it('are those that the running one does not know', () => {
    expect(unknownStates([state('a1'), state('b2'), state('c3')], saOf(child('a1', 'c3', 5)))).toEqual([state('b2')]);
  });

  it('go once their tunnel has a newer SA that has settled, and never with that SA itself', () => {
    const stale = [state('a1'), state('b2')];
    expect(replacedStates(stale, saOf(child('a1', 'c3', 1)), connections)).toEqual([]);
    expect(replacedStates(stale, saOf(child('a1', 'c3', 5)), connections)).toEqual([state('b2')]);
  });
});
