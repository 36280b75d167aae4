import type { Command } from 'commander';

export interface MatrixFlags {
  readonly name?: string;
  readonly output: string;
  readonly from?: string;
  readonly to?: string;
  readonly bytes: string;
  readonly concurrency: string;
  readonly services?: boolean;
}

/** `raven lab matrix` */
export function addMatrixCommand(labCommand: Command): void {
  labCommand
    .command('matrix')
    .description('measure every pair of pods: ICMP, TCP with checksum, UDP, the source that was seen, the path, the round trip')
    .option('--name <lab>', 'which lab; default: the only one there is')
    .option('-o, --output <format>', 'text or json (docs/lab.md)', 'text')
    .option('--from <sender>', 'only from this pod, node or region')
    .option('--to <receiver>', 'only to this pod, node or region')
    .option('--bytes <count>', 'length of each TCP transfer', '1048576')
    .option('--concurrency <count>', 'pairs with transfers at a time', '6')
    .option('--services', "also every service's cluster IP, name and node port, from pods and nodes")
    .addHelpText('after', '\nExit code 1 when a pair fails.')
    .action(async (flags: MatrixFlags) => {
      const { showMatrix } = await import('./show.ts');
      if (!(await showMatrix(flags))) process.exitCode = 1;
    });
}
