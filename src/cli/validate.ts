import { type Command, Option } from 'commander';

export function addValidateCommand(program: Command): void {
  program
    .command('validate')
    .description('check manifests as the admission webhook would: every problem with file, line and field')
    .requiredOption('-f, --filename <path...>', 'files, directories, or - for standard input')
    .addOption(new Option('-o, --output <format>', 'for people or programs').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      `
Both versions of Gateway are read, and all other kinds that Raven works with; documents of other kinds are passed over and counted.
Exit code 0 when everything is good, 1 when there is a problem, 2 when a file cannot be read.

  raven validate -f clusters/ -o json
  helm template raven deploy/chart/raven | raven validate -f -`,
    )
    .action(async (options: { filename: string[]; output: string }) => {
      const { runValidate } = await import('./validate-run.ts');
      if (!(await runValidate(options))) process.exitCode = 1;
    });
}
