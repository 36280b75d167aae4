import { countExit, countTap, countVitest, type Counts } from './counts.ts';

export type Group = 'lint' | 'unit' | 'kube' | 'lab' | 'lab-kube' | 'image' | 'kernel' | 'kernel-matrix' | 'kernel-failover';

/** One program of the test run, and how to read what it did. */
export interface Part {
  readonly group: Group;
  readonly title: string;
  readonly argv: readonly [string, ...string[]];
  /** Its output: all of it as it comes, or only when it failed. */
  readonly show: 'live' | 'on failure';
  /** Runs only when it is asked for: too long for every run. */
  readonly onRequest?: true;
  /** How to end it early: close its message channel, so that it can clean up, or a signal to its process group. */
  readonly interrupt: 'disconnect' | 'signal';
  count(outcome: Outcome): Counts;
}

export interface Outcome {
  readonly exitCode: number;
  readonly output: string;
  /** What the program wrote into the report file; empty when it wrote none. */
  readonly report: string;
}

/** Time for the virtual machine's suite: under software emulation a lab takes minutes. */
const KERNEL_TIMEOUT_S = 900;

/**
 * All parts in the order in which they run: what is quick to fail first.
 *
 * @param reportFile where a part that has a report writes it
 */
export function listParts(node: string, reportFile: string): Part[] {
  const bin = (name: string): string => `node_modules/.bin/${name}`;
  return [
    check('linter', [bin('oxlint'), '--deny-warnings']),
    check('format', [bin('oxfmt'), '--check', '.']),
    check('types', [bin('tsc'), '--noEmit']),
    check('dead code', [bin('knip')]),
    vitest('unit', 'unit, property and driver tests', node, reportFile),
    vitest('kube', 'tests against a real kube-apiserver', node, reportFile),
    vitest('lab', 'end-to-end tests in the lab', node, reportFile),
    { ...check('make demo', [node, 'scripts/demo.ts']), group: 'lab' },
    vitest('lab-kube', 'end-to-end tests in the lab on Kubernetes', node, reportFile),
    {
      group: 'image',
      title: "the container image's content, made and run in folders",
      argv: [node, 'scripts/image-check.ts'],
      show: 'live',
      interrupt: 'signal',
      count: ({ output, exitCode }) => countTap(output, exitCode),
    },
    {
      group: 'kernel',
      title: 'the lab in a virtual machine with the distribution kernel',
      argv: [node, 'scripts/vm.ts', '--timeout', String(KERNEL_TIMEOUT_S), '--', 'sh', 'test/kernel/run.sh'],
      show: 'live',
      interrupt: 'signal',
      count: ({ output, exitCode }) => countTap(output, exitCode),
    },
    {
      group: 'kernel-matrix',
      title: 'drivers, families and ways on each kernel',
      argv: [node, 'scripts/kernel-matrix.ts'],
      show: 'live',
      interrupt: 'signal',
      onRequest: true,
      count: ({ output, exitCode }) => countTap(output, exitCode),
    },
    {
      group: 'kernel-failover',
      title: 'a gateway that loses power, with tunnels in the kernel',
      argv: [node, 'scripts/vm.ts', '--timeout', String(KERNEL_TIMEOUT_S), '--', bin('node'), 'test/kernel/failover.ts'],
      show: 'live',
      interrupt: 'signal',
      onRequest: true,
      count: ({ output, exitCode }) => countTap(output, exitCode),
    },
  ];
}

function check(title: string, argv: Part['argv']): Part {
  return { group: 'lint', title, argv, show: 'on failure', interrupt: 'signal', count: ({ exitCode }) => countExit(exitCode) };
}

function vitest(project: Extract<Group, 'unit' | 'kube' | 'lab' | 'lab-kube'>, title: string, node: string, reportFile: string): Part {
  return {
    group: project,
    title,
    argv: [node, 'scripts/test/vitest.ts', project, reportFile],
    show: 'live',
    interrupt: 'disconnect',
    count: ({ report, exitCode }) => countVitest(report, exitCode),
  };
}
