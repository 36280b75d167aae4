import { describe, expect, it } from 'vitest';
import { groupByLab, labMac, netnsName } from './names.ts';

describe('namespaces are given to labs', () => {
  it('by their internet, and by the longest name that fits', () => {
    const names = ['raven-x-a1', 'raven-x-internet', 'raven-x-y-a1', 'raven-x-y-internet', 'raven-x-pod-a1', 'other-x-a1', 'raven-lost-a1'];
    expect(Object.fromEntries(groupByLab(names, []))).toEqual({
      x: ['raven-x-a1', 'raven-x-internet', 'raven-x-pod-a1'],
      'x-y': ['raven-x-y-a1', 'raven-x-y-internet'],
    });
  });

  it('also without the internet when the name is known from elsewhere', () => {
    expect(Object.fromEntries(groupByLab(['raven-lost-a1'], ['lost', 'empty']))).toEqual({ empty: [], lost: ['raven-lost-a1'] });
  });
});

it('a MAC address is unicast, locally administered and stays', () => {
  expect(labMac(netnsName('mini', 'edge1'), 'eth0')).toBe(labMac('raven-mini-edge1', 'eth0'));
  expect(labMac('a', 'b')).toMatch(/^02(:[0-9a-f]{2}){5}$/);
});
