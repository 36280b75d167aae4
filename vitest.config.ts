import { defineConfig } from 'vitest/config';

/** A busy two-core machine takes seconds for what takes milliseconds otherwise; a test that hangs still ends. */
const UNIT_TIMEOUT_MS = 60_000;
/** A lab comes up in seconds, a failover scenario in a minute or two. */
const LAB_TIMEOUT_MS = 300_000;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'src/**/*.test.ts',
            'scripts/**/*.test.ts',
            'chaos/**/*.test.ts',
            'test/architecture.test.ts',
            'test/simulation/**/*.test.ts',
          ],
          testTimeout: UNIT_TIMEOUT_MS,
          hookTimeout: UNIT_TIMEOUT_MS,
        },
      },
      {
        // Each file brings real labs up and mostly waits for them: two at a time keep two processors busy.
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          testTimeout: LAB_TIMEOUT_MS,
          hookTimeout: LAB_TIMEOUT_MS,
          maxWorkers: 2,
        },
      },
      {
        // Against a real kube-apiserver that all files share, one file at a time: they make objects of the same kinds.
        test: {
          name: 'kube',
          include: ['test/kube/**/*.test.ts'],
          globalSetup: ['test/kube/global-setup.ts'],
          testTimeout: UNIT_TIMEOUT_MS,
          hookTimeout: LAB_TIMEOUT_MS,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'lab-kube',
          include: ['test/lab-kube/**/*.test.ts'],
          testTimeout: LAB_TIMEOUT_MS,
          hookTimeout: LAB_TIMEOUT_MS,
          fileParallelism: false,
        },
      },
    ],
  },
});
