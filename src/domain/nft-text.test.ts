import { describe, expect, it } from 'vitest';
import type { Cidr } from '../net/cidr.ts';
import { diffNft, formatNftScript, nftStateOf } from './nft-text.ts';
import type { NftTable } from './node-plan.ts';

const table: NftTable = {
  name: 'raven',
  sets: [
    { name: 'own4', type: 'ipv4_addr', elements: [] },
    { name: 'remote4', type: 'ipv4_addr', elements: ['10.2.0.0/16', '10.3.0.0/24'] as Cidr[] },
  ],
  chains: [
    { name: 'postrouting', type: 'nat', hook: 'postrouting', priority: 90, rules: ['ip saddr @own4 snat ip to ip saddr', 'accept'] },
  ],
};

function withElements(elements: readonly string[]): NftTable {
  return { ...table, sets: table.sets.map((set) => (set.name === 'remote4' ? { ...set, elements: elements as Cidr[] } : set)) };
}

describe('formatNftScript', () => {
  it('replaces the whole table in one transaction', () => {
    expect(formatNftScript(table)).toMatchInlineSnapshot(`
      "add table inet raven
      delete table inet raven
      table inet raven {
        set own4 { type ipv4_addr; flags interval; }
        set remote4 { type ipv4_addr; flags interval; elements = { 10.2.0.0/16, 10.3.0.0/24 }; }
        chain postrouting {
          type nat hook postrouting priority 90; policy accept;
          ip saddr @own4 snat ip to ip saddr comment "raven:94a027c3"
          accept comment "raven:08247e29"
        }
      }"
    `);
  });
});

describe('diffNft', () => {
  it('has nothing to say about equal tables, whatever the order of elements', () => {
    expect(diffNft(nftStateOf(table), withElements(['10.3.0.0/24', '10.2.0.0/16']))).toEqual([]);
    expect(diffNft(undefined, undefined)).toEqual([]);
  });

  it('removes elements before it adds what may overlap with them', () => {
    expect(diffNft(nftStateOf(table), withElements(['10.2.0.0/17', '10.3.0.0/24']))).toEqual([
      'delete element inet raven remote4 { 10.2.0.0/16 }',
      'add element inet raven remote4 { 10.2.0.0/17 }',
    ]);
  });

  it.each<[string, Partial<NftTable['chains'][number]>]>([
    ['a rule is gone', { rules: ['accept'] }],
    ['rules changed places', { rules: ['accept', 'ip saddr @own4 snat ip to ip saddr'] }],
    ['a priority differs', { priority: 91 }],
    ['a hook differs', { hook: 'input' }],
  ])('replaces the table when %s', (_, change) => {
    const have = nftStateOf({ ...table, chains: table.chains.map((chain) => ({ ...chain, ...change })) });
    expect(diffNft(have, table)).toEqual([formatNftScript(table)]);
  });

  it('replaces a table that holds more than we made', () => {
    expect(diffNft({ ...nftStateOf(table), other: ['flags dormant'] }, table)).toEqual([formatNftScript(table)]);
  });

  it('deletes the table when none is planned', () => {
    expect(diffNft(nftStateOf(table), undefined)).toEqual(['delete table inet raven']);
  });
});
