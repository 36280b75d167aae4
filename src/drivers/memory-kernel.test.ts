import { beforeEach, describe } from 'vitest';
import { TEST_DEVICE } from './arbitrary-plan.ts';
import { kernelConformance, type TestMachine } from './kernel-conformance.ts';
import { createMemoryKernel } from './memory-kernel.ts';

describe('a kernel in memory', () => {
  let machine: TestMachine;
  beforeEach(() => {
    const kernel = createMemoryKernel([TEST_DEVICE]);
    kernel.run('ip link add rvn-ipsec type tun');
    machine = { kernel, run: (command) => Promise.resolve(kernel.run(command)) };
  });
  kernelConformance(() => machine, { numRuns: 300 });
});
